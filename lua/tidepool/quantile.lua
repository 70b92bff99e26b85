-- quantile.lua - quantiles of times of which only the counts up to some bounds are known.

-- The value that a share of q of total is at or under, evenly spread within a bucket; of
-- what is beyond the last one its bound.  buckets: { le =, count = } each, which counts
-- what is up to le.
return function(buckets, total, q)
  local rank, low, under = q * total, 0, 0
  for _, bucket in ipairs(buckets) do
    if bucket.count >= rank then
      return low + (bucket.le - low) * (rank - under) / (bucket.count - under)
    end
    low, under = bucket.le, bucket.count
  end
  return low
end
