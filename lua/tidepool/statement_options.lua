-- statement_options.lua - sql or { sql, ... = }, as statements take it.

-- Gives a table with the SQL at 1; raises for what is none, and for options that are not
-- in known, at the line that level counts to from the caller.
return function(sql, known, level)
  local opts = type(sql) == "table" and sql or { sql }
  for name in pairs(opts) do
    if name ~= 1 and not known[name] then
      error("unknown statement option: " .. tostring(name), level + 1)
    end
  end
  if type(opts[1]) ~= "string" then
    error("SQL text expected, got " .. type(opts[1]), level + 1)
  end
  return opts
end
