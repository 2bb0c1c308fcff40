-- One user after the other; the headers are in the file that BENCH_CREDENTIALS names.
local credentials = {}
for line in io.lines(os.getenv("BENCH_CREDENTIALS")) do credentials[#credentials + 1] = line end
local turn = 0
request = function()
    turn = turn % #credentials + 1
    return wrk.format("GET", "/authenticate", {Authorization = credentials[turn]})
end
