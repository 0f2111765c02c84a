-- Who asked in the person's place, and why: an officer, as the provider of professionals named them at their login.
ALTER TABLE person_grant ADD COLUMN motive TEXT;
ALTER TABLE person_grant ADD COLUMN officer_uid BLOB REFERENCES officer (uid);
ALTER TABLE person_grant ADD COLUMN officer_iss TEXT;
ALTER TABLE person_grant ADD COLUMN officer_assurance TEXT;
