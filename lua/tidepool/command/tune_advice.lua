-- tune_advice.lua - what `tidepool tune` tries, when it has seen enough, and what it
-- recommends: steps in, advice out.
--
-- A step has at, its size or lanes; rate, statements a second; p99, seconds; calls and
-- errors; connections, those that were open; and, where it is known, own_cpu in percent
-- of a core and on_lanes, the share of its statements that went onto lanes.

local NEAR = 0.05        -- so far below the best rate is as good
local SLOWER = 1.5       -- so many times the least p99 is as good
local FAILING = 0.01     -- of all calls: a step with more errors is not recommended
local UNEVEN = 0.1       -- so far below both neighbours is no curve of a server
local BUSY_PERCENT = 90  -- of a core, used by tidepool itself

local tune_advice = {}

tune_advice.RULE = ("the smallest within %g %% of the best throughput whose p99 is at "
  .. "most %g times the lowest p99 of these"):format(NEAR * 100, SLOWER)

-- ---- what to try

-- Sizes up to limit, which is the last.
function tune_advice.sizes(limit)
  local sizes = {}
  local function add(size)
    if size < limit then sizes[#sizes + 1] = size end
  end
  local size = 1
  while size < limit do
    add(size)
    if size >= 8 then add(size * 1.5) end
    size = size * 2
  end
  sizes[#sizes + 1] = limit
  return sizes
end

-- Lanes up to limit.
function tune_advice.lanes(cores, limit)
  local wanted, lanes = { 1, 2, cores, cores + 1 }, {}
  local more = cores * 2
  while more <= limit do
    wanted[#wanted + 1] = more
    more = more * 2
  end
  table.sort(wanted)
  for _, count in ipairs(wanted) do
    if count <= limit and count ~= lanes[#lanes] then lanes[#lanes + 1] = count end
  end
  return lanes
end

-- ---- when it is enough

local function best_of(steps)
  local best
  for _, step in ipairs(steps) do
    if not best or step.rate > best.rate then best = step end
  end
  return best
end

local function is_near(step, best) return step.rate >= best.rate * (1 - NEAR) end

local function has_fallen(steps)
  local last, before, best = steps[#steps], steps[#steps - 1], best_of(steps)
  return before ~= nil and not is_near(before, best) and not is_near(last, best)
end

-- The load had no use for all of its connections: it is a smaller step once more.
local function is_spare(step) return step.connections < step.at end

-- Why the steps after these need not be tried; or nil.
function tune_advice.why_enough(steps)
  local last = steps[#steps]
  if last.errors > 0 and last.errors == last.calls then return "every call failed" end
  if is_spare(last) then
    return ("only %d of %d connections were needed at once: more are the same"):format(
      last.connections, last.at)
  end
  if has_fallen(steps) then return "throughput had fallen for two steps" end
end

-- ---- what to choose

local function is_failing(step)
  return step.rate == 0 or step.errors > step.calls * FAILING
end

-- The step to recommend and the one of the best rate; or nil when none is sound.
function tune_advice.choose(steps)
  local sound, near, least = {}, {}, math.huge
  for _, step in ipairs(steps) do
    if not is_failing(step) and not is_spare(step) then sound[#sound + 1] = step end
  end
  local best = best_of(sound)
  for _, step in ipairs(sound) do
    if is_near(step, best) then
      near[#near + 1] = step
      least = math.min(least, step.p99)
    end
  end
  for _, step in ipairs(near) do
    if step.p99 <= least * SLOWER then return step, best end
  end
end

-- ---- what to say of it

local function note_dips(notes, what, steps)
  for i = 2, #steps - 1 do
    local lower = math.min(steps[i - 1].rate, steps[i + 1].rate)
    if steps[i].rate < lower * (1 - UNEVEN) then
      notes[#notes + 1] = ("%s %d was slower than both of its neighbours: something else "
        .. "was at work; a longer --step tells more"):format(what, steps[i].at)
    end
  end
end

local function note_errors(notes, what, steps)
  for _, step in ipairs(steps) do
    if is_failing(step) then
      local why = step.error and ": " .. step.error or ""
      notes[#notes + 1] = ("%s %d is not recommended: %d of its %d calls failed%s")
        :format(what, step.at, step.errors, step.calls, why)
    end
  end
end

local function note_open_end(notes, what, steps, best)
  local before = steps[#steps - 1]
  if best == steps[#steps] and before and not is_near(before, best) then
    notes[#notes + 1] = ("%s %d was the last that was tried, and the best: more may be "
      .. "better"):format(what, best.at)
  end
end

local function note_own_cpu(notes, what, best)
  if best.own_cpu and best.own_cpu >= BUSY_PERCENT then
    notes[#notes + 1] = ("at %s %d tidepool itself used %.0f %% of a core: the callers, "
      .. "not the server, were the limit"):format(what, best.at, best.own_cpu)
  end
end

local function judge(notes, what, ladder)
  local chosen, best = tune_advice.choose(ladder.steps)
  note_errors(notes, what, ladder.steps)
  if not chosen then return nil end
  note_dips(notes, what, ladder.steps)
  note_open_end(notes, what, ladder.steps, best)
  note_own_cpu(notes, what, best)
  return { chosen = chosen, best = best }
end

-- Why the setting lanes is not recommended though lanes were measured; or nil.
local function why_no_lanes(found, lanes)
  if found.is_writer then
    return "the statement writes: writes share up to max_connections connections, "
      .. "whatever lanes is"
  end
  if (lanes.chosen.on_lanes or 1) < 0.5 then
    return ("%.0f %% of the statements went onto lanes: the others ran as leases, as "
      .. "what is slower than group_target does"):format(lanes.chosen.on_lanes * 100)
  end
end

local function share_of(count, hosts) return math.max(1, math.floor(count / hosts)) end

local function note_hosts(notes, total, hosts)
  if hosts == 1 then return end
  notes[#notes + 1] = ("%d instances share the server: each has its part of "
    .. "max_connections %d"):format(hosts, total)
  if hosts > total then
    notes[#notes + 1] = ("one connection for each of %d instances is more than %d")
      :format(hosts, total)
  end
end

-- What to set, of ladders { sizes = { steps }, lanes = { steps } } of which lanes may be
-- missing, and is_writer.  Returns max_connections and lanes (or nil) for each of hosts;
-- total, max_connections of all; size and lane, each with the step that was chosen and
-- the best; notes, sentences.  Or nil and the notes when no size can be recommended.
function tune_advice.recommend(found, hosts)
  local notes = {}
  local size = judge(notes, "max_connections", found.sizes)
  if not size then return nil, notes end
  local lane = found.lanes and judge(notes, "lanes", found.lanes)
  local advice = { size = size, lane = lane, notes = notes }
  advice.total = math.max(size.chosen.at, lane and lane.chosen.at or 0)
  advice.max_connections = share_of(advice.total, hosts)
  local why = lane and why_no_lanes(found, lane)
  if why then
    notes[#notes + 1] = "lanes is not recommended: " .. why
  elseif lane then
    advice.lanes = share_of(lane.chosen.at, hosts)
  end
  note_hosts(notes, advice.total, hosts)
  return advice
end

return tune_advice
