-- schedule.lua - sizes by the time of day, for load that comes by the clock: open shops,
-- nightly jobs.  plan: "08:00=40 20:00=10 weekend:00:00=5"; each holds until the next of
-- the day, the last one of the day before until the first.  Days with a plan of their
-- own ("weekend:", or "mon:" to "sun:") have no other.
--
-- Source: scheduled scaling, as AWS and Kubernetes (KEDA cron) have it.

local DAYS = { [0] = "sun", "mon", "tue", "wed", "thu", "fri", "sat" }

local policy = { every = 10, options = { plan = "" } }

local function entry(word)
  local equals = word:find "="
  local clock = word:sub(1, (equals or 1) - 1)
  local size = tonumber(word:sub((equals or 0) + 1))
  local hour, minute = tonumber(clock:sub(-5, -4)), tonumber(clock:sub(-2))
  if not (equals and size and hour and minute) or clock:sub(-3, -3) ~= ":" then
    error('plan: "HH:MM=SIZE" or "DAY:HH:MM=SIZE" expected, got "' .. word .. '"', 0)
  end
  return { day = clock:sub(1, -7), at = hour * 3600 + minute * 60, size = size,
    text = clock:sub(-5) }
end

local function parse(plan)
  local days, from = {}, 1
  plan = plan .. " "
  while from <= #plan do
    local space = plan:find(" ", from)
    local word = plan:sub(from, space - 1)
    from = space + 1
    if word ~= "" then
      local e = entry(word)
      days[e.day] = days[e.day] or {}
      table.insert(days[e.day], e)
    end
  end
  local function is_before(one, other) return one.at < other.at end
  for _, list in pairs(days) do table.sort(list, is_before) end
  return days
end

local function of_day(days, weekday)
  return days[DAYS[weekday]] or (weekday % 6 == 0 and days.weekend) or days[""]
end

function policy.decide(pool, ctx)
  local state = ctx.state
  state.days = state.days or parse(ctx.options.plan)
  local today, chosen = of_day(state.days, ctx.weekday), nil
  local before = of_day(state.days, (ctx.weekday + 6) % 7)
  if before then chosen = before[#before] end
  for _, e in ipairs(today or {}) do
    if e.at <= ctx.day then chosen = e end
  end
  if chosen and chosen.size ~= pool.settings.max_connections then
    return { max_connections = chosen.size }, "the plan from " .. chosen.text .. " on"
  end
end

return policy
