-- queue_table.lua - the table of job queues: what consumers and those who add say to the
-- server.
--
-- A job is taken by setting the time when it is due to later: who has taken it is never
-- asked, and a process that is gone needs no clean-up.  attempts tells one taking of a
-- job from the next.

local core = require "tidepool.core"

local queue_table = {}

local CREATE = { [[CREATE TABLE IF NOT EXISTS tidepool_jobs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text NOT NULL,
  key text,
  payload jsonb NOT NULL,
  attempts int NOT NULL DEFAULT 0,
  due timestamptz NOT NULL DEFAULT clock_timestamp(),
  created timestamptz NOT NULL DEFAULT clock_timestamp(),
  is_dead boolean NOT NULL DEFAULT false,
  error text)]],
  [[CREATE INDEX IF NOT EXISTS tidepool_jobs_due ON tidepool_jobs (queue, due, id)
  WHERE NOT is_dead]],
  [[CREATE INDEX IF NOT EXISTS tidepool_jobs_key ON tidepool_jobs (queue, key, id)
  WHERE NOT is_dead AND key IS NOT NULL]] }

local ADD = [[INSERT INTO tidepool_jobs (queue, key, payload, due)
  VALUES ($1::text, $2::text, $3::text::jsonb,
    clock_timestamp() + $4::float8 * interval '1 s') RETURNING id]]

-- Of one key the first that is left goes first; one that another takes is passed over.
local TAKE = [[WITH next AS (
    SELECT j.id FROM tidepool_jobs AS j
    WHERE j.queue = $1::text AND NOT j.is_dead AND j.due <= clock_timestamp()
      AND (j.key IS NULL OR NOT EXISTS (SELECT FROM tidepool_jobs AS before
        WHERE before.queue = j.queue AND before.key = j.key AND before.id < j.id
          AND NOT before.is_dead))
    ORDER BY j.due, j.id LIMIT $2::int FOR UPDATE OF j SKIP LOCKED),
  taken AS (
    UPDATE tidepool_jobs AS j SET attempts = j.attempts + 1,
      due = clock_timestamp() + $3::float8 * interval '1 s'
    FROM next WHERE j.id = next.id
    RETURNING j.id, j.key, j.payload::text AS payload, j.attempts)
  SELECT * FROM taken ORDER BY id]]

local NEXT = [[SELECT extract(epoch FROM min(due) - clock_timestamp())::float8 AS seconds
  FROM tidepool_jobs WHERE queue = $1::text AND NOT is_dead AND due > clock_timestamp()]]

local KEEP = [[UPDATE tidepool_jobs AS j
  SET due = clock_timestamp() + $4::float8 * interval '1 s'
  FROM unnest($1::bigint[], $2::int[]) AS mine (id, attempts)
  WHERE j.id = mine.id AND j.attempts = mine.attempts AND queue = $3::text
    AND NOT is_dead]]

local DONE = [[DELETE FROM tidepool_jobs WHERE id = $1::bigint AND attempts = $2::int]]

local AGAIN = [[UPDATE tidepool_jobs SET error = $3::text,
    due = clock_timestamp() + $4::float8 * interval '1 s'
  WHERE id = $1::bigint AND attempts = $2::int]]

local BURY = [[UPDATE tidepool_jobs SET error = $3::text, is_dead = true
  WHERE id = $1::bigint AND attempts = $2::int]]

local STATS = [[SELECT count(*) FILTER (WHERE NOT is_dead AND due <= now())::int AS ready,
    count(*) FILTER (WHERE NOT is_dead AND due > now())::int AS later,
    count(*) FILTER (WHERE is_dead)::int AS dead,
    coalesce(extract(epoch FROM now() - min(due) FILTER (WHERE NOT is_dead
      AND due <= now())), 0)::float8 AS oldest
  FROM tidepool_jobs WHERE queue = $1::text]]

function queue_table.channel(name) return "tidepool_queue_" .. name end

-- The statements that make the table, as one text for migrations.
function queue_table.schema()
  return table.concat(CREATE, ";\n") .. ";\n"
end

-- One process at a time: IF NOT EXISTS alone does not keep two from making it at once.
function queue_table.create(db)
  local done, err = db:transaction(function(tx)
    assert(tx:lock "tidepool_jobs")
    for _, sql in ipairs(CREATE) do assert(tx:exec(sql)) end
    return true
  end)
  return done, err
end

-- On a pool or a transaction: the job's id; or nil, err.
function queue_table.add(conn, name, key, text, delay)
  local row, err = conn:one(ADD, name, key or core.null, text, delay)
  if not row then return nil, err end
  return row.id
end

function queue_table.take(db, name, count, visibility)
  return db:query(TAKE, name, count, visibility)
end

-- Seconds until another is due, nil when none is known to be; or nil, err.
function queue_table.next_due(db, name)
  local row, err = db:one(NEXT, name)
  if not row then return nil, err end
  return row.seconds
end

-- These give how many they met: a job that was taken by another meanwhile they do not.

function queue_table.keep(db, name, jobs, visibility)
  local ids, attempts = {}, {}
  for i, job in ipairs(jobs) do ids[i], attempts[i] = job.id, job.attempts end
  return db:exec(KEEP, ids, attempts, name, visibility)
end

function queue_table.done(db, job) return db:exec(DONE, job.id, job.attempts) end

function queue_table.again(db, job, why, seconds)
  return db:exec(AGAIN, job.id, job.attempts, why, seconds)
end

function queue_table.bury(db, job, why)
  return db:exec(BURY, job.id, job.attempts, why)
end

function queue_table.stats(db, name) return db:one(STATS, name) end

return queue_table
