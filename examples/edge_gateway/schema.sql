-- Tokens are stored as their SHA-256; see README.md for how to add one.
CREATE TABLE tokens (
  digest text PRIMARY KEY CHECK (digest ~ '^[0-9a-f]{64}$'),
  client text NOT NULL
);

CREATE TABLE items (
  id    int PRIMARY KEY,
  name  text NOT NULL,
  price int NOT NULL CHECK (price >= 0) -- cents
);

INSERT INTO tokens VALUES
  (encode(sha256('good-token'), 'hex'), 'ada'),
  (encode(sha256('busy-token'), 'hex'), 'grace');

INSERT INTO items VALUES (1, 'lamp', 1990), (2, 'chair', 4900), (3, 'desk', 12900);
