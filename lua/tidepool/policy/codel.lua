-- codel.lua - keeps waits short under overload: what waits too long in a line that
-- stands is shed, the newest is served first.  The pool does it by itself, this sets
-- its target: a few service times, within limits, so that a slow server is not taken
-- for a crowded one.
--
-- Source: Nichols and Jacobson, "Controlling Queue Delay" (2012); "Fail at Scale" (ACM
-- Queue, 2015): target 5 ms, interval 100 ms.

local policy = {
  every = 2,
  options = {
    services = 2,     -- the target, in median service times
    least = 0.005,    -- seconds
    most = 0.1,
    interval = 0.1,
    tolerance = 0.25, -- a change by less than this share is none
  },
}

function policy.decide(pool, ctx)
  local o, settings = ctx.options, pool.settings
  local target = o.least
  if pool.service.count > 0 then
    target = math.max(o.least, math.min(o.most, pool.service.p50 * o.services))
  elseif settings.codel_target > 0 then
    return
  end
  local change = math.abs(target - settings.codel_target)
  if settings.codel_interval == o.interval and
    change <= settings.codel_target * o.tolerance then
    return
  end
  return { codel_target = target, codel_interval = o.interval },
    ("%g services of %.1f ms"):format(o.services, pool.service.p50 * 1000)
end

return policy
