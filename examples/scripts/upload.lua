-- A large upload: a CSV file goes from the client into a table as it comes, no faster
-- than Postgres takes it, in little memory and as one transaction.
--   curl -T users.csv http://127.0.0.1:8080/users.csv

local tide = require "tidepool"
local db = tide.postgres()
local app = tide.app()

app:put("/users.csv", { body = "stream", max_body_bytes = 2 ^ 30 }, function(req)
  local count, err = db:copy_in("COPY users FROM STDIN (FORMAT csv, HEADER)",
    function() return req:read() end)
  if count then return tide.json { rows = count } end
  if err.code == "server" then err.status = 400 end -- the client's rows are wrong
  return tide.fail(err)
end)

return app
