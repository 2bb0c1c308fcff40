-- Requests for wrk. load.py describes the variables of the environment that control them.
-- Whatever does not change from request to request is built once, so that wrk needs little of the machine.
local path = os.getenv("BENCH_PATH") or "/authenticate"
local method = os.getenv("BENCH_METHOD") or "GET"
local heads = os.getenv("BENCH_HEADS") or "repeated"
local pause = tonumber(os.getenv("BENCH_PAUSE") or "0")
local closes = os.getenv("BENCH_CLOSE") == "yes" and "close" or nil
local odd = tonumber(os.getenv("BENCH_ODD") or "0")
local host = os.getenv("BENCH_HOST")
if host == "" then host = nil end
local credentials = {}
for line in io.lines(os.getenv("BENCH_CREDENTIALS")) do
    credentials[#credentials + 1] = line
end
local function build(credential, body)
    local headers = {Authorization = credential, Connection = closes, ["X-Forwarded-Host"] = host}
    return wrk.format(method, path, headers, body)
end
-- The head without its last, empty line, so that one more header can follow.
local function begin(credential)
    return build(credential):sub(1, -3)
end
-- What proxies send that forward all headers of the client: with Host, Authorization and the URI, 13 fields.
local FORWARDED = table.concat({
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding: gzip, deflate, br",
    "Accept-Language: en-GB,en;q=0.5",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Host: archive.example.org",
    "X-Forwarded-Method: GET",
    "X-Forwarded-Port: 443",
    "X-Forwarded-Proto: https",
    "X-Real-Ip: 127.0.0.1",
    "",
}, "\r\n")
-- What nginx sends with the shipped example, besides Host, Authorization, X-Original-URI and X-Request-ID.
local NGINX = table.concat({
    "X-Original-Method: GET",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: archive.example.org",
    "X-Forwarded-For: 192.0.2.7",
    "",
}, "\r\n")
local built = {}
local asked = 0
request = function()
    local place = asked % #credentials + 1
    asked = asked + 1
    if odd > 0 and asked % odd == 0 then
        return build(credentials[place], "a body")
    end
    if heads == "repeated" then
        built[place] = built[place] or build(credentials[place])
        return built[place]
    elseif heads == "request id" then
        built[place] = built[place] or begin(credentials[place]) .. "X-Request-ID: bench-"
        return string.format("%s%020d\r\n\r\n", built[place], asked)
    end
    if heads == "nginx" or heads == "nginx, new" then
        built[place] = built[place] or begin(credentials[place]) .. NGINX .. "X-Original-URI: /archive/data-"
        -- Every tenth request of a credential has the same URI: the credentials take turns, too.
        local number = heads == "nginx" and math.floor(asked / #credentials) % 10 or asked
        local uri = string.format("%d/%010d", number % 10 * 20, number)
        return string.format("%s%s\r\nX-Request-ID: bench-%020d\r\n\r\n", built[place], uri, asked)
    end
    built[place] = built[place] or begin(credentials[place]) .. FORWARDED .. "X-Forwarded-Uri: /archive/"
    return string.format("%s%020d\r\n\r\n", built[place], asked)
end
-- Between 0 and twice the mean, so that connections do not send in step.
if pause > 0 then
    delay = function() return math.random(0, math.floor(2 * pause + 0.5)) end
end
