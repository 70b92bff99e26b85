-- schema.sql - the game's tables.  Sessions and the leaderboard make their own.

CREATE TABLE players (
  id int PRIMARY KEY
);

CREATE TABLE inventory (
  player int REFERENCES players,
  item   int,
  count  int NOT NULL CHECK (count >= 0),
  PRIMARY KEY (player, item)
);

-- Every trade that was decided, by the id that the player's program gave it.
CREATE TABLE trades (
  id      bigint PRIMARY KEY,
  giver   int NOT NULL REFERENCES players,
  taker   int NOT NULL REFERENCES players,
  give    int NOT NULL,
  take    int NOT NULL,
  count   int NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('done', 'refused'))
);

-- Where players are and what they have scored: tide.writebehind stores it.
CREATE TABLE states (
  player  int PRIMARY KEY,
  value   jsonb NOT NULL,
  version bigint NOT NULL
);
