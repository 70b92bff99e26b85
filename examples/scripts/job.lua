-- A job: a script that returns nothing is run to its end.
--   tidepool run job.lua -- 30
-- Deletes sessions that nobody used for so many days, a batch at a time, so that no
-- transaction is long and others get a word in.

local tide = require "tidepool"
local db = tide.postgres()

local days = tonumber((...)) or 30
local BATCH = 1000
local total = 0

repeat
  local deleted = assert(db:exec([[DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions WHERE used_at < now() - make_interval(days => $1) LIMIT $2)]],
    days, BATCH))
  total = total + deleted
  tide.sleep(0.01)
until deleted < BATCH

print(("deleted %d sessions"):format(total))
