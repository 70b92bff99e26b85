-- `tidepool test examples/quickstart/app_spec.lua`: each test begins with the rows of
-- schema.sql.

local tide = require "tidepool"
local app = require "app"

local db = tide.postgres()
local cache = tide.redis()

local function transfer(from, to, amount)
  return tide.request(app, "POST", "/transfer",
    { json = { from = from, to = to, amount = amount } })
end

local function balance(id)
  return assert(db:one("SELECT balance FROM users WHERE id = $1", id)).balance
end

describe("GET /users", function()
  it("lists all", function()
    local response = tide.request(app, "GET", "/users")
    assert.are.equal(200, response.status)
    assert.are.equal(3, #response:json())
  end)

  it("gives one, and keeps it in the cache", function()
    assert.are.equal("Ada", tide.request(app, "GET", "/users/1"):json().name)
    assert.truthy((cache:get "user:1"))
  end)

  it("has no such user", function()
    assert.are.equal(404, tide.request(app, "GET", "/users/99").status)
    assert.are.equal(404, tide.request(app, "GET", "/users/ada").status)
  end)
end)

describe("POST /transfer", function()
  it("moves money", function()
    assert.are.equal(200, transfer(1, 2, 30).status)
    assert.are.same({ 70, 80 }, { balance(1), balance(2) })
  end)

  it("begins again with the rows of the schema", function()
    assert.are.same({ 100, 50 }, { balance(1), balance(2) })
  end)

  it("moves no more than there is", function()
    assert.are.equal(409, transfer(2, 1, 51).status)
    assert.are.equal(50, balance(2))
  end)

  it("refuses what makes no sense", function()
    assert.are.equal(400, transfer(1, 2, -5).status)
    assert.are.equal(404, transfer(1, 99, 5).status)
    assert.are.equal(400, tide.request(app, "POST", "/transfer", { body = "{" }).status)
  end)
end)
