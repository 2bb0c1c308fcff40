-- Asks authotron over HTTP about each request, for an Apache without mod_authnz_fcgi. docs/apache.md says when and how.
-- Needs mod_lua and LuaSocket (in Debian the package lua-socket). To adapt, change address and port of the gateway.
require "apache2"
local socket = require "socket"

local ADDRESS, PORT = "<< gateway.host >>", << gateway.port >>
-- Longer than the gateway waits for its providers (`auth.timeout_in_ms`).
local SECONDS = << within(15) >>
-- Variables of the request for `RequestHeader set`. All are set, empty if the gateway says nothing.
local VARIABLES = {
    ["authorization"] = "Authorization",
    #@ for name in profile
    ["<< name | lower >>"] = "<< name | replace("-", "_") >>",
    #@ endfor
}
-- Headers of a refusal that the client gets.
local REFUSAL = { ["www-authenticate"] = "WWW-Authenticate", ["retry-after"] = "Retry-After",<< ' ["dpop-nonce"] = "DPoP-Nonce",' if "DPoP" in credential_headers >> ["location"] = "Location" }

-- The head of the question. No value can contain a line end, because Apache accepts none in a request.
local function question(r)
    local lines = { "GET /auth/apache HTTP/1.1", "Host: authotron", "Connection: close" }
    local function add(name, value)
        if value and value ~= "" then
            lines[#lines + 1] = name .. ": " .. value
        end
    end
    add("Authorization", r.headers_in["Authorization"])
    #@ for name in credential_headers + (["Cookie"] if cookies else [])
    add("<< name >>", r.headers_in["<< name >>"])
    #@ endfor
    #@ if "certificate" in stated
    -- The certificate of the client, if Apache asks for one in the handshake (docs/mtls.md).
    local certificate = r.is_https and r:ssl_var_lookup("SSL_CLIENT_CERT")
    add("<< stated.certificate >>", certificate and certificate:gsub("%s+$", ""):gsub("[\r\n]+", " "))
    #@ endif
    add("X-Auth-Realm", r.headers_in["X-Auth-Realm"])
    add("X-Request-ID", r.headers_in["X-Request-ID"])
    add("X-Forwarded-Method", r.method)
    add("X-Forwarded-Uri", r.unparsed_uri)
    add("X-Forwarded-Host", r.headers_in["Host"])
    add("X-Forwarded-For", r.useragent_ip)
    add("X-Forwarded-Proto", r.is_https and "https" or "http")
    return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- Status and headers of the answer, or nothing if its head does not arrive completely.
local function answer(connection)
    local first = connection:receive("*l")
    local status = first and tonumber(first:match("^HTTP/1%.[01] (%d%d%d) "))
    local headers = {}
    while status do
        local line = connection:receive("*l")
        if not line then
            return nil
        elseif line == "" then
            return status, headers
        end
        local name, value = line:match("^([^:]+):%s*(.-)%s*$")
        if name then
            headers[name:lower()] = value
        end
    end
end

function ask(r)
    for _, name in pairs(VARIABLES) do
        r.subprocess_env[name] = ""
    end
    #@ for path in metadata_paths
    -- Where clients get tokens for the service (docs/oauth.md). They have none yet, so the gateway answers everyone.
    if r.uri == "<< path >>" then
        return apache2.DECLINED
    end
    #@ endfor
    #@ if pass_preflights
    -- A preflight has no credentials, so Apache passes it on without an identity; the service answers it.
    if r.method == "OPTIONS" and r.headers_in["Access-Control-Request-Method"] then
        return apache2.DECLINED
    end
    #@ endif
    local connection = socket.tcp()
    connection:settimeout(SECONDS)
    local status, headers
    if connection:connect(ADDRESS, PORT) and connection:send(question(r)) then
        status, headers = answer(connection)
    end
    connection:close()
    -- Only 200 lets a request pass. A gateway that does not answer is an outage.
    if status == nil then
        return 503
    elseif status == 200 then
        for name, variable in pairs(VARIABLES) do
            r.subprocess_env[variable] = headers[name] or ""
        end
        return apache2.DECLINED
    end
    for name, shown in pairs(REFUSAL) do
        if headers[name] then
            r.err_headers_out[shown] = headers[name]
        end
    end
    return status >= 400 and status or 503
end
