-- What owners change about their accounts themselves, and messages for those who are away.

-- 0 active, 1 disabled by the operator, 2 deleted by its owner, 3 expired.
ALTER TABLE accounts ADD COLUMN state BIGINT NOT NULL DEFAULT 0;
UPDATE accounts SET state = disabled;
ALTER TABLE accounts DROP COLUMN disabled;

ALTER TABLE accounts ADD COLUMN email TEXT;
-- What the address is to become, the SHA-256 of the code that was sent there, and until when it is good.
ALTER TABLE accounts ADD COLUMN email_pending TEXT;
ALTER TABLE accounts ADD COLUMN email_pending_code BYTEA;
ALTER TABLE accounts ADD COLUMN email_pending_until_unix_s BIGINT;
-- Likewise, of a mail that asks to confirm the account.
ALTER TABLE accounts ADD COLUMN confirm_code BYTEA;
ALTER TABLE accounts ADD COLUMN confirm_until_unix_s BIGINT;
-- The operator knew for whom the accounts so far were.
ALTER TABLE accounts ADD COLUMN confirmed BIGINT NOT NULL DEFAULT 1;
-- What those who know the address may find out: 1 nothing, 2 that there is an account, 3 its name.
ALTER TABLE accounts ADD COLUMN registration BIGINT NOT NULL DEFAULT 1;
-- What the owner may not change, a bit each: 1 format of the name, 2 address, 4 registration, 8 password.
ALTER TABLE accounts ADD COLUMN frozen BIGINT NOT NULL DEFAULT 0;
-- Wrong passwords given by somebody who was signed on, and when the first of them was.
ALTER TABLE accounts ADD COLUMN password_failures BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN password_failures_since_unix_s BIGINT NOT NULL DEFAULT 0;
-- How many messages were ever stored: the number of the last one.
ALTER TABLE accounts ADD COLUMN messages_made BIGINT NOT NULL DEFAULT 0;

CREATE INDEX accounts_by_email ON accounts (lower(email));
CREATE INDEX accounts_by_email_pending ON accounts (lower(email_pending));

CREATE TABLE messages (
    account_id BIGINT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    -- Normal form.
    sender TEXT NOT NULL,
    -- As the sender liked to see it.
    sender_formatted TEXT NOT NULL,
    at_unix_s BIGINT NOT NULL,
    channel BIGINT NOT NULL,
    -- As the sender's client wrote it.
    content BYTEA NOT NULL,
    PRIMARY KEY (account_id, number)
);

CREATE INDEX messages_by_time ON messages (at_unix_s);

-- Who did it: operator or owner.
ALTER TABLE audit ADD COLUMN author TEXT NOT NULL DEFAULT 'operator';

CREATE INDEX audit_by_account ON audit (account_id, at_unix_s);
