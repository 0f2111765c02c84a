-- The words of a page on which somebody answered for another named both, and a company its number, beside the grant and in
-- clear. Who acted for whom is in the sealed subject; such a grant is from now on one whose words were not kept.
DELETE FROM grant_notice WHERE grant_id IN (SELECT id FROM person_grant WHERE capacity IN ('entity', 'helper'));
