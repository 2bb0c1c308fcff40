-- Asks authotron about each request of HAProxy. haproxy.cfg loads it, and refuses whatever it does not allow.
-- To adapt, change the address of the gateway.

-- Where the gateway listens. For a UNIX socket set SOCKET to its address, such as "unix@/run/authotron.sock". HAProxy looks
-- names up by DNS, and not in /etc/hosts; where that fails, SOCKET may be the address for the name, such as "127.0.0.1:8443".
#@ if gateway.path
local URL, SOCKET = "http://authotron/auth/haproxy", "unix@<< gateway.path >>"
#@ else
local URL, SOCKET = "http<< "s" if gateway.tls >>://<< gateway >>/auth/haproxy", nil
#@ endif
-- In ms: longer than the gateway waits for its providers (`auth.timeout_in_ms`), so that it can say 503 itself. HAProxy
-- tries again up to three times if no answer came.
local TIMEOUT = << within(15) >>000
-- What the service gets. Each is set, or removed if the gateway does not say it.
local IDENTITY = { << identity | map("lower") | map("tojson") | join(", ") >> }
-- Headers of a refusal that the client gets.
local REFUSAL = {
    ["content-type"] = "Content-Type", ["www-authenticate"] = "WWW-Authenticate", ["retry-after"] = "Retry-After",<< ' ["dpop-nonce"] = "DPoP-Nonce",' if "DPoP" in credential_headers >>
    ["location"] = "Location", ["cache-control"] = "Cache-Control",
}
local OUTAGE = '{"error": "Authentication is temporarily unavailable"}'

-- The values of a header as a list, which Lua counts from 1; HAProxy counts from 0.
local function values(headers, name)
    local found = {}
    for place, value in pairs(headers[name] or {}) do
        found[place + 1] = value
    end
    return found
end

-- HAProxy passes on NUL in the value of a header, behind which many services read nothing (RFC 9110 section 5.5).
local function has_nul(headers)
    for _, list in pairs(headers) do
        for _, value in pairs(list) do
            if value:find("\0", 1, true) then
                return true
            end
        end
    end
    return false
end

-- The headers of the question: what the gateway reads, and nothing else that a client made up.
local function question(txn)
    local sent = txn.http:req_get_headers()
    local headers = {
        ["Host"] = { "<< gateway.host if gateway.tls else "authotron" >>" },
        ["<< stated.method >>"] = { txn.sf:method() },
        ["<< stated.path >>"] = { txn.sf:pathq() },
        ["<< stated.address >>"] = { txn.sf:src() },
        ["<< stated.scheme >>"] = { txn.f:ssl_fc() and txn.f:ssl_fc() ~= 0 and "https" or "http" },
    }
    local hosts = values(sent, "host")
    if #hosts > 0 then
        headers["<< stated.host >>"] = hosts
    end
    -- Twice stays twice: the gateway refuses that.
    local credentials = values(sent, "authorization")
    if #credentials > 0 then
        headers["Authorization"] = credentials
    end
    #@ for name in credential_headers + (["Cookie"] if cookies else [])
    local found = values(sent, "<< name | lower >>")
    if #found > 0 then
        headers["<< name >>"] = found
    end
    #@ endfor
    #@ if "certificate" in stated
    local certificate = txn:get_var("txn.authotron_certificate")
    if certificate then
        headers["<< stated.certificate >>"] = { ":" .. certificate .. ":" }
    end
    #@ endif
    local realm = txn:get_var("txn.authotron_realm")
    if realm then
        headers["X-Auth-Realm"] = { realm }
    end
    local ids = values(sent, "x-request-id")
    if #ids == 1 then
        headers["X-Request-ID"] = ids
    end
    return headers
end

local function refuse(txn, status, headers, body)
    local reply = txn:reply({ status = status, body = body })
    for name, shown in pairs(REFUSAL) do
        for _, value in ipairs(values(headers, name)) do
            reply:add_header(shown, value)
        end
    end
    txn:done(reply)
end

core.register_action("authotron", { "http-req" }, function(txn)
    if has_nul(txn.http:req_get_headers()) then
        return refuse(txn, 400, {}, "")
    end
    local answer = core.httpclient():get({ url = URL, headers = question(txn), timeout = TIMEOUT, dst = SOCKET })
    local status = answer and answer.status or 0
    -- Only 200 lets a request pass. A gateway that does not answer is an outage.
    if status == 200 then
        for _, name in ipairs(IDENTITY) do
            txn.http:req_del_header(name)
            local found = values(answer.headers, name)
            if #found == 1 then
                txn.http:req_set_header(name, found[1])
            end
        end
        txn:set_var("txn.authotron_allowed", true)
    elseif status >= 300 and (status < 500 or answer.headers["retry-after"]) then
        refuse(txn, status, answer.headers, answer.body)
    else
        refuse(txn, 503, { ["content-type"] = { [0] = "application/json" }, ["retry-after"] = { [0] = "5" } }, OUTAGE)
    end
end, 0)
