"""Statements that a random run has found to differ, by schema: run again in
every test.  A script is a statement, or several with one session's state."""

FOUND = {
    'emails': [
        ['SELECT (t1).*, (t1).c2 FROM users AS t1 (c0, c1, c2, c3), '
         'ONLY (visits), visits AS t2'],
        ["INSERT INTO users (name) VALUES ('n1'), ('longer than ten') "
         "ON CONFLICT ON CONSTRAINT users_pkey "
         "DO UPDATE SET email = 'longer than twelve'"],
        ["INSERT INTO users (name) VALUES ('n1'), ('longer than ten') "
         "ON CONFLICT ON CONSTRAINT users_pkey DO UPDATE SET email = 'less'"],
        ["PREPARE p AS INSERT INTO users (name) "
         "VALUES ('n1'), ('longer than ten') ON CONFLICT (id) "
         "DO UPDATE SET email = 'longer than twelve'", 'EXECUTE p',
         'DEALLOCATE p'],
    ],
    'members': [
        ["INSERT INTO profiles (id, bio, stars) VALUES (5, 'a', 1) "
         'ON CONFLICT (id) DO UPDATE SET bio = NULL, stars = NULL',
         'SELECT * FROM profiles ORDER BY id'],
        ["INSERT INTO profiles (id, bio, stars) VALUES (2, 'a', 1) "
         'ON CONFLICT (id) DO UPDATE SET bio = NULL',
         'SELECT * FROM profiles ORDER BY id'],
        ["INSERT INTO people (id, nam) VALUES (1, 'a') ON CONFLICT (id) "
         "DO UPDATE SET age = 3, nam = nullif(people.nam, 'customer 1')"],
        ['UPDATE profiles SET bio = NULL WHERE id = 16'],
        ['UPDATE people SET nam = NULL WHERE id = 2'],
        ['PREPARE p AS UPDATE profiles SET bio = NULL, stars = 5 '
         'WHERE id = 16', 'EXECUTE p', 'DEALLOCATE p'],
        ['SELECT (profiles).*, f1.n, (profiles).stars FROM profiles '
         'JOIN generate_series(1, 3) AS f1 (n) ON profiles.id = f1.n'],
    ],
    'shop': [
        ["INSERT INTO inovices (id, customr, amount) "
         "VALUES (1, 'n1', 3), (2, 'n2', 4) "
         'ON CONFLICT (id) DO UPDATE SET amount = -4, customr = - - 4'],
        ["INSERT INTO inovices (id, customr, amount) "
         "VALUES (1, 'n1', 3), (2, 'n2 and far too long for it', 4) "
         'ON CONFLICT (id) DO UPDATE SET amount = -40000000000'],
        ['SELECT (t1).* FROM inovices t1 RIGHT JOIN payments '
         'ON t1.id = payments.id ORDER BY payments.id'],
        ['SELECT t1.id, (t1).*, payments.*, (t2).*, (t2).amount '
         'FROM inovices t1 JOIN inovices t2 USING (id) '
         'JOIN payments ON t1.id = payments.id ORDER BY payments.id'],
    ],
    'split': [
        ['BEGIN', 'DECLARE k CURSOR FOR SELECT * FROM users WHERE id = 1',
         'FETCH k', 'UPDATE users SET note = '
         'left(row_to_json(users)::text, 30) WHERE CURRENT OF k',
         'SELECT * FROM users WHERE id = 1', 'ROLLBACK'],
        ['UPDATE users SET name = NULL, street = NULL WHERE id = 1'],
        ["UPDATE users SET street = NULL, name = nullif(name, 'n2') "
         'WHERE id = 2'],
        ["UPDATE users SET street = NULL, name = nullif(name, 'n2') "
         'WHERE id = 3'],
        ["INSERT INTO users (id, name, street) VALUES (1, 'b', 'c') "
         'ON CONFLICT (id) DO UPDATE SET name = NULL, street = NULL'],
        ['BEGIN', 'UPDATE users SET street = NULL, name = NULL',
         'ROLLBACK'],
    ],
    'taxes_new': [
        ['INSERT INTO invoices (id, number, amount, tax_type) '
         "VALUES (1, 'n27', NULL, NULL)"],
        ['UPDATE invoices SET tax_type = NULL, amount = NULL WHERE id = 1'],
        ['UPDATE invoices SET tax_type = NULL WHERE id = 1'],
    ],
    'staff': [
        ['BEGIN', 'TRUNCATE stores CASCADE', 'SELECT count(*) FROM employees',
         'ROLLBACK'],
        ['TRUNCATE stores'],
        ['BEGIN', 'TRUNCATE ONLY stores RESTART IDENTITY CASCADE',
         'SELECT count(*) FROM employees', 'ROLLBACK'],
    ],
}
