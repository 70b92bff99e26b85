CREATE TABLE users (
  id      int PRIMARY KEY,
  name    text NOT NULL,
  balance int NOT NULL CHECK (balance >= 0)
);

INSERT INTO users VALUES (1, 'Ada', 100), (2, 'Grace', 50), (3, 'Edsger', 0);
