-- One credential after the other; load.py says in the environment where they are, and how to ask.
-- A request is made once, so that the one who asks takes little of the machine.
local path = os.getenv("BENCH_PATH") or "/authenticate"
local pause = tonumber(os.getenv("BENCH_PAUSE") or "0")
local closes = os.getenv("BENCH_CLOSE") == "yes" and "close" or nil
local odd = tonumber(os.getenv("BENCH_ODD") or "0")
local host = os.getenv("BENCH_HOST")
if host == "" then host = nil end
local credentials = {}
for line in io.lines(os.getenv("BENCH_CREDENTIALS")) do
    credentials[#credentials + 1] = line
end
local function made(credential, body)
    local headers = {Authorization = credential, Connection = closes, ["X-Forwarded-Host"] = host}
    return wrk.format("GET", path, headers, body)
end
local plain = {}
local asked = 0
request = function()
    local place = asked % #credentials + 1
    asked = asked + 1
    if odd > 0 and asked % odd == 0 then
        return made(credentials[place], "a body")
    end
    plain[place] = plain[place] or made(credentials[place])
    return plain[place]
end
-- Between nothing and twice the mean, so that connections do not ask in step.
if pause > 0 then
    delay = function() return math.random(0, math.floor(2 * pause + 0.5)) end
end
