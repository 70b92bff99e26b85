-- tune_advice_spec.lua - what `tidepool tune` tries, when it stops, what it recommends,
-- of curves that are made up.

local advice = require "tidepool.command.tune_advice"

-- Steps of { at, rate, p99 in ms, and what differs of the other fields }.
local function steps_of(...)
  local steps = {}
  for i, row in ipairs { ... } do
    local step = { at = row[1], rate = row[2], p99 = row[3] / 1000, calls = row[2],
                   errors = 0, connections = row[1], own_cpu = 20, on_lanes = 1 }
    for name, value in pairs(row[4] or {}) do step[name] = value end
    steps[i] = step
  end
  return steps
end

local RISING = { { 1, 1000, 64 }, { 2, 2000, 32 }, { 4, 4000, 16 }, { 8, 8000, 8 } }
local SATURATED = { { 1, 1000, 64 }, { 2, 2000, 32 }, { 4, 3900, 17 }, { 8, 4000, 18 },
                    { 12, 4020, 19 } }

local function chosen_of(...)
  local chosen, best = advice.choose(steps_of(...))
  return chosen and chosen.at, best and best.at
end

local function recommend(sizes, lanes, more)
  local found = { sizes = { steps = steps_of(unpack(sizes)) },
                  lanes = lanes and { steps = steps_of(unpack(lanes)) } }
  for name, value in pairs(more or {}) do found[name] = value end
  return advice.recommend(found, found.hosts or 1)
end

local function has_note(notes, text)
  for _, note in ipairs(notes) do
    if note:find(text, 1, true) then return true end
  end
  return false
end

describe("tidepool.command.tune_advice", function()
  describe("tries", function()
    it("sizes up to the limit, which is the last", function()
      assert.are.same({ 1 }, advice.sizes(1))
      assert.are.same({ 1, 2, 3 }, advice.sizes(3))
      assert.are.same({ 1, 2, 4, 8, 12, 16, 24, 32 }, advice.sizes(32))
      assert.are.same({ 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 87 }, advice.sizes(87))
    end)

    it("lanes around the number of cores, each once", function()
      assert.are.same({ 1, 2 }, advice.lanes(1, 2))
      assert.are.same({ 1, 2, 3, 4, 8, 16 }, advice.lanes(2, 20))
      assert.are.same({ 1, 2, 8, 9, 16 }, advice.lanes(8, 31))
      assert.are.same({ 1, 2 }, advice.lanes(8, 5))
    end)
  end)

  describe("has seen enough", function()
    local function why(...) return advice.why_enough(steps_of(...)) end

    it("when throughput was below the best twice", function()
      assert.is_nil(why({ 1, 1000, 9 }))
      assert.is_nil(why({ 1, 1000, 9 }, { 2, 900, 9 }))
      assert.is_nil(why({ 1, 1000, 9 }, { 2, 900, 9 }, { 4, 1000, 9 }))
      assert.matches("fallen for two steps",
        why({ 1, 1000, 9 }, { 2, 940, 9 }, { 4, 945, 9 }))
    end)

    it("not while it rises or is flat", function()
      assert.is_nil(why(unpack(RISING)))
      assert.is_nil(why(unpack(SATURATED)))
    end)

    it("when connections were left over", function()
      assert.are.equal("only 3 of 4 connections were needed at once: more are the same",
        why({ 1, 1000, 9 }, { 4, 1200, 9, { connections = 3 } }))
    end)

    it("when every call failed", function()
      assert.are.equal("every call failed", why({ 1, 0, 0, { errors = 5, calls = 5 } }))
    end)
  end)

  describe("chooses", function()
    it("the last step of a curve that rises", function()
      assert.are.same({ 8, 8 }, { chosen_of(unpack(RISING)) })
    end)

    it("the first that is as good as the best", function()
      assert.are.same({ 4, 12 }, { chosen_of(unpack(SATURATED)) })
    end)

    it("the first step of a flat curve", function()
      assert.are.equal(1, (chosen_of({ 1, 1000, 9 }, { 2, 1010, 9 }, { 4, 990, 9 })))
    end)

    it("the best of a curve that falls", function()
      assert.are.equal(1, (chosen_of({ 1, 1000, 9 }, { 2, 900, 9 }, { 4, 800, 9 })))
    end)

    it("what is within 5 %, both sides of the boundary", function()
      assert.are.equal(1, (chosen_of({ 1, 950, 9 }, { 2, 1000, 9 })))
      assert.are.equal(2, (chosen_of({ 1, 949, 9 }, { 2, 1000, 9 })))
    end)

    it("no p99 over 1.5 times the least of those that are near", function()
      assert.are.equal(1, (chosen_of({ 1, 980, 15 }, { 2, 1000, 10 })))
      assert.are.equal(2, (chosen_of({ 1, 980, 15.1 }, { 2, 1000, 10 })))
      assert.are.equal(4, -- the low p99 of a slow step does not count
        (chosen_of({ 1, 100, 1 }, { 4, 980, 15 }, { 8, 1000, 10 })))
    end)

    it("no step of which over 1 % failed", function()
      assert.are.equal(2,
        (chosen_of({ 1, 1000, 9, { errors = 11 } }, { 2, 900, 9, { errors = 9 } })))
      assert.is_nil((chosen_of({ 1, 1000, 9, { errors = 1000 } })))
      assert.is_nil((chosen_of({ 1, 0, 0, { calls = 0 } })))
      assert.is_nil((chosen_of()))
    end)

    it("no step that left connections over", function()
      assert.are.equal(2,
        (chosen_of({ 2, 1000, 9 }, { 4, 1500, 9, { connections = 2 } })))
    end)
  end)

  describe("recommends", function()
    it("the size, and the lanes", function()
      local lanes = { { 1, 5000, 9 }, { 2, 9000, 5 }, { 3, 9100, 5 } }
      local found = recommend(SATURATED, lanes)
      assert.are.equal(4, found.max_connections)
      assert.are.equal(2, found.lanes)
      assert.are.same({}, found.notes)
    end)

    it("connections enough for the lanes", function()
      local found = recommend({ { 1, 1000, 9 } }, { { 1, 100, 9 }, { 2, 500, 9 } })
      assert.are.equal(2, found.max_connections)
      assert.are.equal(2, found.lanes)
    end)

    it("the size alone where lanes were not measured", function()
      local found = recommend(SATURATED)
      assert.are.equal(4, found.max_connections)
      assert.is_nil(found.lanes)
    end)

    it("no lanes for a statement that writes or is too slow for them", function()
      local lanes = { { 1, 100, 9 }, { 2, 500, 9, { on_lanes = 0.04 } } }
      local found = recommend(SATURATED, lanes)
      assert.is_nil(found.lanes)
      assert.is_true(has_note(found.notes, "4 % of the statements went onto lanes"))
      found = recommend(SATURATED, { { 1, 100, 9 } }, { is_writer = true })
      assert.is_nil(found.lanes)
      assert.is_true(has_note(found.notes, "the statement writes"))
    end)

    it("each of several instances its part", function()
      local lanes = { { 1, 5000, 9 }, { 2, 9000, 5 } }
      local found = recommend(SATURATED, lanes, { hosts = 3 })
      assert.are.equal(1, found.max_connections)
      assert.are.equal(1, found.lanes)
      assert.are.equal(4, found.total)
      assert.is_true(has_note(found.notes, "3 instances share the server"))
      assert.is_false(has_note(found.notes, "is more than"))
    end)

    it("one connection at least, and says that this is too many", function()
      local found = recommend(SATURATED, nil, { hosts = 9 })
      assert.are.equal(1, found.max_connections)
      assert.is_true(has_note(found.notes, "each of 9 instances is more than 4"))
    end)

    it("nothing where each step failed, and says why", function()
      local found, notes = recommend {
        { 1, 0, 0, { calls = 7, errors = 7, error = "no such table" } },
      }
      assert.is_nil(found)
      assert.are.same({ "max_connections 1 is not recommended: 7 of its 7 calls failed: "
        .. "no such table" }, notes)
    end)
  end)

  describe("notes", function()
    it("that the curve still rose at its end", function()
      assert.is_true(has_note(recommend(RISING).notes, "more may be better"))
      assert.is_false(has_note(recommend(SATURATED).notes, "more may be better"))
    end)

    it("a step that is below both of its neighbours", function()
      local found = recommend { { 1, 1000, 9 }, { 2, 1700, 9 }, { 4, 1200, 9 },
                                { 8, 1750, 9 }, { 12, 1800, 9 } }
      assert.are.equal(8, found.max_connections)
      assert.is_true(has_note(found.notes,
        "max_connections 4 was slower than both of its neighbours"))
    end)

    it("that tidepool was the limit", function()
      local found = recommend { { 1, 1000, 9 }, { 2, 2000, 9, { own_cpu = 97 } } }
      assert.is_true(has_note(found.notes, "tidepool itself used 97 % of a core"))
    end)
  end)
end)
