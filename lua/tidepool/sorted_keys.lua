-- sorted_keys.lua - the keys of a table, in order.

return function(values)
  local keys = {}
  for key in pairs(values) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end
