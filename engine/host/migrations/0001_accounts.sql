-- Accounts, their contact lists, and who changed what about them.
--
-- Types and statements are those that SQLite and PostgreSQL share. Identifiers are drawn at random and never used again, so
-- that nothing sealed or logged for one account can fit a later one. Times are seconds since 1970, truth values 0 or 1.

CREATE TABLE accounts (
    id BIGINT NOT NULL PRIMARY KEY,
    -- Normal form: ASCII lower case, no spaces.
    name TEXT NOT NULL UNIQUE,
    -- As its owner likes to see it; the same in normal form.
    formatted TEXT NOT NULL,
    -- Argon2id, as a PHC string.
    password_hash TEXT NOT NULL,
    -- The generated password for old clients, sealed with the key beside the database; NULL: old clients stay out.
    legacy_sealed BYTEA,
    disabled BIGINT NOT NULL DEFAULT 0,
    created_unix_s BIGINT NOT NULL,
    feedbag_changed_unix_s BIGINT NOT NULL
);

CREATE TABLE feedbag_items (
    account_id BIGINT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    group_id BIGINT NOT NULL,
    item_id BIGINT NOT NULL,
    class_id BIGINT NOT NULL,
    name BYTEA NOT NULL,
    -- TLVs as they came.
    attributes BYTEA NOT NULL,
    PRIMARY KEY (account_id, group_id, item_id)
);

-- Outlives the accounts that it speaks of.
CREATE TABLE audit (
    id BIGINT NOT NULL PRIMARY KEY,
    at_unix_s BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    action TEXT NOT NULL
);

CREATE INDEX audit_by_time ON audit (at_unix_s);
