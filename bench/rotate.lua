-- One credential after the other; load.py says in the environment where they are, and how to ask.
-- They are read one by one, as there may be very many.
local credentials = io.open(os.getenv("BENCH_CREDENTIALS"))
local function next_credential()
    local line = credentials:read()
    if not line then
        credentials:seek("set")
        line = credentials:read()
    end
    return line
end
local path = os.getenv("BENCH_PATH") or "/authenticate"
local pause = tonumber(os.getenv("BENCH_PAUSE") or "0")
local closes = os.getenv("BENCH_CLOSE") == "yes" and "close" or nil
local odd = tonumber(os.getenv("BENCH_ODD") or "0")
local asked = 0
request = function()
    asked = asked + 1
    local body = odd > 0 and asked % odd == 0 and "a body" or nil
    local headers = {Authorization = next_credential(), Connection = closes}
    return wrk.format("GET", path, headers, body)
end
-- Between nothing and twice the mean, so that connections do not ask in step.
if pause > 0 then
    delay = function() return math.random(0, math.floor(2 * pause + 0.5)) end
end
