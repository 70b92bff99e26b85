-- A worker: takes jobs from a table when NOTIFY says that there are some, each by one
-- worker only, and looks again after a gap.
--   tidepool run notifications.lua

local tide = require "tidepool"
local db = tide.postgres()

-- Runs one job in a transaction: when it fails, the job is there again.
local function run_one()
  return db:transaction(function(tx)
    local job = assert(tx:query [[SELECT id, word FROM jobs WHERE done_at IS NULL
      ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED]])[1]
    if not job then return false end
    print(job.word:upper())
    assert(tx:exec("UPDATE jobs SET done_at = now() WHERE id = $1", job.id))
    return true
  end)
end

local function run_all()
  repeat
    local has_run, err = run_one()
    if err then return tide.log("error", "job failed", { error = tostring(err) }) end
  until not has_run
end

assert(db:listen("jobs", run_all))
run_all() -- those that were there before
while true do tide.sleep(3600) end
