-- A large result as a download: rows go from Postgres to the client piece by piece, no
-- faster than the client reads, and in little memory.

local tide = require "tidepool"
local db = tide.postgres()
local app = tide.app()

app:get("/users.csv", function()
  return tide.stream(function(reply)
    assert(db:copy_out("COPY users TO STDOUT (FORMAT csv, HEADER)", function(chunk)
      return reply:write(chunk)
    end))
  end, { headers = { ["content-type"] = "text/csv" } })
end)

return app
