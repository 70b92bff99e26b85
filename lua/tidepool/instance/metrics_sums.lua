-- metrics_sums.lua - pages of metrics (see metrics.lua) of several workers as one, whose
-- counters do not fall when a worker ends.

local metrics_sums = {}

-- Gauges that each worker has of the whole instance: the largest.
local LARGEST = {
  db_client_connection_max = true, db_client_connection_idle_min = true,
  tidepool_pool_down = true, tidepool_pool_exhausted = true, tidepool_pool_paused = true,
  tidepool_build_info = true, tidepool_policy_info = true,
  tidepool_writebehind_oldest_dirty_seconds = true,
  tidepool_writebehind_loss_window_seconds = true,
  tidepool_recording_failed = true, tidepool_script_generation = true,
}

-- Gauges of which the smallest counts: a worker that has not read a new certificate.
local SMALLEST = { tidepool_tls_certificate_expires_timestamp_seconds = true }

-- The families of a page in its order: { name =, head = (its two comments), kind =,
-- samples = (array of { series, value }) }.
function metrics_sums.read(page)
  local families, family = {}, nil
  for line in page:gmatch "[^\n]+" do
    local name, kind = line:match "^# TYPE (%S+) (%S+)$"
    if line:find "^# HELP " then
      family = { head = line, samples = {} }
      families[#families + 1] = family
    elseif name then
      family.head, family.name, family.kind = family.head .. "\n" .. line, name, kind
    else
      local series, value = line:match "^(.+) (%S+)$"
      table.insert(family.samples, { series, tonumber(value) })
    end
  end
  return families
end

local function add_family(into, family)
  local is_largest, is_smallest = LARGEST[family.name], SMALLEST[family.name]
  for _, sample in ipairs(family.samples) do
    local series, value = sample[1], sample[2]
    local at = into.at[series]
    if not at then
      table.insert(into.samples, { series, value })
      into.at[series] = #into.samples
    elseif is_largest then
      into.samples[at][2] = math.max(into.samples[at][2], value)
    elseif is_smallest then
      into.samples[at][2] = math.min(into.samples[at][2], value)
    else
      into.samples[at][2] = into.samples[at][2] + value
    end
  end
end

-- The sum of several: arrays of families, as read() gives them.
function metrics_sums.sum(pages)
  local result, by_name = {}, {}
  for _, families in ipairs(pages) do
    for _, family in ipairs(families) do
      local into = by_name[family.name]
      if not into then
        into = { name = family.name, kind = family.kind, head = family.head, samples = {},
                 at = {} }
        by_name[family.name] = into
        result[#result + 1] = into
      end
      add_family(into, family)
    end
  end
  return result
end

local GROWS = { counter = true, histogram = true }

-- Of families those that only grow: what stays of a worker that has ended.
function metrics_sums.lasting(families)
  local result = {}
  for _, family in ipairs(families) do
    if GROWS[family.kind] then result[#result + 1] = family end
  end
  return result
end

local function number_text(value)
  if value % 1 == 0 and math.abs(value) < 2 ^ 53 then return ("%.0f"):format(value) end
  return ("%.12g"):format(value)
end

-- The page of families.
function metrics_sums.write(families)
  local lines = {}
  for _, family in ipairs(families) do
    lines[#lines + 1] = family.head
    for _, sample in ipairs(family.samples) do
      lines[#lines + 1] = sample[1] .. " " .. number_text(sample[2])
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- The value of one series of families, or nil.
function metrics_sums.value(families, series)
  for _, family in ipairs(families) do
    for _, sample in ipairs(family.samples) do
      if sample[1] == series then return sample[2] end
    end
  end
end

return metrics_sums
