-- post.lua with pauses: each connection waits so many milliseconds, on average, between requests.
-- wrk [options] -s soak.lua URL -- MILLISECONDS BODY-FILE "Header: value" ...

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "post.lua")

local pause, begin = 1, init

function init(args)
  pause = tonumber(table.remove(args, 1))
  begin(args)
end

function delay()
  return math.random(0, 2 * pause)
end
