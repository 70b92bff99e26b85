-- fit.lua - a line through points, and medians.

local fit = {}

-- The least squares line through { x, y } points: slope and its standard error, both in
-- units of y for one of x.  The error takes the points for independent; nil for fewer
-- than 3.
function fit.line(points)
  local n, x_sum, y_sum = #points, 0, 0
  if n < 3 then return nil end
  for _, point in ipairs(points) do x_sum, y_sum = x_sum + point[1], y_sum + point[2] end
  local x_mean, y_mean = x_sum / n, y_sum / n
  local xx, xy = 0, 0
  for _, point in ipairs(points) do
    xx = xx + (point[1] - x_mean) ^ 2
    xy = xy + (point[1] - x_mean) * (point[2] - y_mean)
  end
  local slope, rest = xy / xx, 0
  for _, point in ipairs(points) do
    rest = rest + (point[2] - y_mean - slope * (point[1] - x_mean)) ^ 2
  end
  return slope, math.sqrt(rest / (n - 2) / xx)
end

function fit.quantile(values, q)
  local sorted = { unpack(values) }
  table.sort(sorted)
  return sorted[math.max(1, math.ceil(q * #sorted))] or 0
end

return fit
