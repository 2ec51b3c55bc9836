/*
 * A shop on plain JDBC; see ../rounds.py.  With APP_BLIND in the environment it
 * does not look into the catalog.  Server-side prepared statements
 * from the first execution on, batches, generated keys, cursors, savepoints
 * and what a driver's metadata asks of the catalog.
 */

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;

public class App {
    private static final String TABLES = """
        CREATE TABLE customers (id serial PRIMARY KEY,
            name varchar(40) NOT NULL UNIQUE);
        CREATE TABLE inovices (
            id bigserial PRIMARY KEY,
            number varchar(12) NOT NULL UNIQUE,
            customr integer NOT NULL REFERENCES customers,
            amount integer NOT NULL CHECK (amount >= 0),
            phone text,
            note varchar(10) DEFAULT 'none',
            version integer NOT NULL DEFAULT 1,
            due date NOT NULL);
        CREATE INDEX inovices_due ON inovices (customr, due);
        CREATE TABLE payments (id serial PRIMARY KEY,
            inovice bigint NOT NULL REFERENCES inovices ON DELETE CASCADE,
            amount integer NOT NULL);
        INSERT INTO customers (name) SELECT 'customer ' || g
        FROM generate_series(1, 5) g""";

    private final Connection db;
    private final int n;
    private final List<String> reads = new ArrayList<>();

    App(Connection db, int n) {
        this.db = db;
        this.n = n;
    }

    void note(String what, Object... values) {
        StringBuilder line = new StringBuilder(what);
        for (Object v : values)
            line.append(' ').append(v);
        reads.add(line.toString().replace('\n', ' '));
    }

    void print() throws Exception {
        for (String line : reads)
            System.err.println(n + "\t" + line);
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(
            String.join("\n", reads).getBytes(StandardCharsets.UTF_8));
        System.out.println(n + " " + String.format("%064x",
            new BigInteger(1, digest)).substring(0, 16));
        System.out.flush();
    }

    static List<List<Object>> rows(ResultSet r) throws SQLException {
        List<List<Object>> all = new ArrayList<>();
        int columns = r.getMetaData().getColumnCount();
        while (r.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= columns; i++)
                row.add(r.getObject(i));
            all.add(row);
        }
        r.close();
        return all;
    }

    PreparedStatement prepare(String sql, Object... values)
            throws SQLException {
        PreparedStatement s = db.prepareStatement(sql);
        bind(s, values);
        return s;
    }

    static void bind(PreparedStatement s, Object... values)
            throws SQLException {
        for (int i = 0; i < values.length; i++)
            s.setObject(i + 1, values[i]);
    }

    List<List<Object>> query(String sql, Object... values)
            throws SQLException {
        try (PreparedStatement s = prepare(sql, values)) {
            return rows(s.executeQuery());
        }
    }

    int update(String sql, Object... values) throws SQLException {
        try (PreparedStatement s = prepare(sql, values)) {
            return s.executeUpdate();
        }
    }

    Date due(int k) {
        return Date.valueOf(LocalDate.of(2024, 1, 1).plusDays(n + k));
    }

    void catalog() throws SQLException {
        DatabaseMetaData m = db.getMetaData();
        for (List<Object> c : rows(m.getColumns(null, "public", "inovices",
                                                "%")))
            note("column", c.get(3), c.get(4), c.get(5), c.get(6), c.get(10),
                 c.get(12));
        for (List<Object> k : rows(m.getPrimaryKeys(null, "public",
                                                    "inovices")))
            note("key", k.get(3), k.get(4));
        for (List<Object> x : rows(m.getIndexInfo(null, "public", "inovices",
                                                  true, true)))
            note("unique", x.get(7), x.get(8));
    }

    void create() throws SQLException {
        try (PreparedStatement s = db.prepareStatement(
                "INSERT INTO inovices (number, customr, amount, phone, due)"
                + " VALUES (?, ?, ?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
            bind(s, n + "-0", 1 + n % 5, n, String.format("555-%04d",
                 n % 10000), due(0));
            s.executeUpdate();
            note("created", rows(s.getGeneratedKeys()));
        }
        try (PreparedStatement s = db.prepareStatement(
                "INSERT INTO inovices (number, customr, amount, phone, due)"
                + " VALUES (?, ?, ?, ?, ?)", new String[] {"id", "amount"})) {
            for (int k = 1; k < 6; k++) {
                bind(s, n + "-" + k, k, k * 10, k % 2 == 0 ? null
                     : String.format("555-%04d", k), due(k));
                s.addBatch();
            }
            int[] counts = s.executeBatch();
            note("batch", counts.length, rows(s.getGeneratedKeys()));
        }
        try (PreparedStatement s = db.prepareStatement(
                "INSERT INTO payments (inovice, amount) SELECT id, ? FROM"
                + " inovices WHERE number = ?")) {
            for (int k = 0; k < 6; k++) {
                bind(s, k + 1, n + "-" + k);
                s.addBatch();
            }
            note("payments", s.executeBatch().length);
        }
        note("upsert", query(
            "INSERT INTO inovices AS i (number, customr, amount, due)"
            + " VALUES (?, 3, ?, ?), (?, 4, ?, ?) ON CONFLICT (number) DO"
            + " UPDATE SET amount = i.amount + EXCLUDED.amount, version ="
            + " i.version + 1 RETURNING id, number, amount, version",
            n + "-5", 7, due(5), n + "-6", 8, due(6)));
        note("nothing", update("INSERT INTO inovices (number, customr, amount,"
            + " due) VALUES (?, 1, 1, ?) ON CONFLICT DO NOTHING", n + "-0",
            due(0)));
    }

    void read() throws SQLException {
        String mine = n + "-%";
        note("all", query("SELECT * FROM inovices WHERE number LIKE ?"
                          + " ORDER BY id", mine));
        note("one", query("SELECT i.*, c.name FROM inovices i JOIN customers c"
                          + " ON c.id = i.customr WHERE number = ? AND"
                          + " amount >= ?", n + "-3", 1));
        note("in", query("SELECT number FROM inovices WHERE amount = ANY (?)"
                         + " AND number LIKE ? ORDER BY id",
                         db.createArrayOf("int4", new Integer[] {10, 20, 30}),
                         mine),
             query("SELECT count(*), count(phone) FROM inovices WHERE phone"
                   + " = ? OR phone IS NULL", "555-0003"));
        note("group", query("SELECT c.name, sum(i.amount), avg(i.amount),"
                            + " max(due) FROM customers c LEFT JOIN inovices"
                            + " i ON i.customr = c.id AND i.number LIKE ?"
                            + " GROUP BY c.id ORDER BY c.id", mine));
        note("sub", query("SELECT number, (SELECT sum(amount) FROM payments p"
                          + " WHERE p.inovice = i.id) FROM inovices i WHERE"
                          + " EXISTS (SELECT FROM payments p WHERE p.inovice"
                          + " = i.id AND p.amount > ?) AND number LIKE ?"
                          + " ORDER BY amount DESC, id LIMIT 3 OFFSET 1", 1,
                          mine));
        note("window", query("WITH i AS (SELECT * FROM inovices WHERE number"
                             + " LIKE ?) SELECT number, sum(amount) OVER"
                             + " (ORDER BY id), row_number() OVER (ORDER BY"
                             + " due, id) FROM i ORDER BY id", mine));
        try (PreparedStatement s = prepare("SELECT amount, phone, note, due"
                + " FROM inovices WHERE number = ?", n + "-1")) {
            ResultSetMetaData m = s.getMetaData();
            for (int i = 1; i <= m.getColumnCount(); i++)
                note("type", m.getColumnLabel(i), m.getColumnTypeName(i),
                     m.getPrecision(i));
        }
    }

    void failed(String what, String sql, Object... values)
            throws SQLException {
        Savepoint s = db.setSavepoint();
        try {
            update(sql, values);
            note(what, "accepted");
        } catch (SQLException e) {
            note(what, e.getSQLState());
            db.rollback(s);
        }
        db.releaseSavepoint(s);
    }

    void write() throws SQLException {
        String mine = n + "-%";
        note("update", update("UPDATE inovices SET amount = amount + ?, note ="
                              + " ? WHERE number LIKE ? AND amount > 20", 5,
                              "raised", mine),
             update("UPDATE inovices SET amount = ?, version = version + 1"
                    + " WHERE number = ? AND version = ?", 77, n + "-1", 1),
             update("UPDATE inovices SET amount = ?, version = version + 1"
                    + " WHERE number = ? AND version = ?", 78, n + "-1", 1));
        db.setAutoCommit(false);
        note("locked", query("SELECT id, amount FROM inovices WHERE number"
                             + " LIKE ? ORDER BY id FOR UPDATE SKIP LOCKED",
                             mine));
        failed("unique", "UPDATE inovices SET number = ? WHERE number = ?",
               n + "-1", n + "-2");
        failed("check", "UPDATE inovices SET amount = ? WHERE number = ?", -1,
               n + "-2");
        failed("long", "UPDATE inovices SET note = ? WHERE number = ?",
               "far too long", n + "-2");
        failed("key", "UPDATE inovices SET customr = ? WHERE number = ?", 77,
               n + "-2");
        try (PreparedStatement s = prepare("SELECT number, amount FROM inovices"
                + " WHERE number LIKE ? ORDER BY id", mine)) {
            s.setFetchSize(2);
            note("cursor", rows(s.executeQuery()));
        }
        db.commit();
        update("UPDATE inovices SET note = 'undone' WHERE number LIKE ?", mine);
        db.rollback();
        db.setAutoCommit(true);
        try (PreparedStatement s = db.prepareStatement(
                "SELECT id, amount, phone FROM inovices WHERE number = ?",
                ResultSet.TYPE_SCROLL_INSENSITIVE,
                ResultSet.CONCUR_READ_ONLY)) {
            bind(s, n + "-2");
            ResultSet r = s.executeQuery();
            r.last();
            note("scrolled", r.getRow(), r.getInt("amount"),
                 r.getString("phone"));
            update("UPDATE inovices SET amount = ?, phone = ? WHERE id = ?",
                   r.getInt("amount") + 1, "555-4321", r.getInt("id"));
        }
        note("moved", query("UPDATE inovices i SET amount = i.amount + p.amount"
                            + " FROM payments p WHERE p.inovice = i.id AND"
                            + " i.number = ? RETURNING i.*", n + "-4"));
        try (Statement s = db.createStatement()) {
            s.execute("UPDATE inovices SET note = 'one' WHERE number = '" + n
                      + "-0'; SELECT note FROM inovices WHERE number = '" + n
                      + "-0'");
            note("several", s.getUpdateCount(), s.getMoreResults(),
                 rows(s.getResultSet()));
        }
    }

    /* The driver makes the statements, of where the columns come from. */
    void updatable() throws SQLException {
        try (PreparedStatement s = db.prepareStatement(
                "SELECT id, number, customr, amount, phone, due FROM inovices"
                + " WHERE number LIKE ? ORDER BY id",
                ResultSet.TYPE_SCROLL_SENSITIVE,
                ResultSet.CONCUR_UPDATABLE)) {
            bind(s, n + "-%");
            ResultSet r = s.executeQuery();
            ResultSetMetaData m = r.getMetaData();
            for (int i = 1; i <= m.getColumnCount(); i++)
                note("from", m.getTableName(i), m.getColumnName(i),
                     m.isAutoIncrement(i), m.isNullable(i));
            r.next();
            r.updateInt("amount", r.getInt("amount") + 100);
            r.updateString("phone", "555-7000");
            r.updateRow();
            note("row", r.getInt("amount"), r.getString("phone"));
            r.refreshRow();
            note("fresh", r.getInt("amount"), r.getString("phone"));
            r.moveToInsertRow();
            r.updateString("number", n + "-i");
            r.updateInt("customr", 2);
            r.updateInt("amount", 12);
            r.updateDate("due", due(9));
            r.insertRow();
            r.moveToCurrentRow();
            r.last();
            note("deleted", r.getString("number"));
            r.deleteRow();
        }
        note("left", query("SELECT * FROM inovices WHERE number LIKE ?"
                           + " ORDER BY id", n + "-%"));
    }

    void round() throws Exception {
        if (System.getenv("APP_BLIND") == null)
            catalog();
        create();
        read();
        write();
        if (System.getenv("APP_BLIND") == null)
            updatable();
        read();
        note("deleted", query("DELETE FROM inovices WHERE number = ? RETURNING"
                              + " id, amount", (n - 3) + "-1"),
             update("DELETE FROM inovices i USING customers c WHERE c.id ="
                    + " i.customr AND number LIKE ?", (n - 3) + "-%"),
             query("SELECT (SELECT count(*) FROM inovices), (SELECT count(*)"
                   + " FROM payments)"));
        print();
    }

    static boolean stopped() throws Exception {
        return System.in.available() > 0;
    }

    public static void main(String[] words) throws Exception {
        String url = words[1].replaceFirst("postgres://([^@]*)@(.*)",
            "jdbc:postgresql://$2?user=$1&prepareThreshold=1"
            + "&sslmode=disable&reWriteBatchedInserts=true");
        try (Connection db = DriverManager.getConnection(url)) {
            if (words[0].equals("setup")) {
                db.createStatement().execute(TABLES);
                return;
            }
            int first = Integer.parseInt(words[2]);
            boolean open = words[3].equals("-");
            for (int n = first; open ? !stopped()
                     : n < first + Integer.parseInt(words[3]); n++) {
                new App(db, n).round();
                if (open)
                    Thread.sleep(500);
            }
            System.out.println("done");
        }
    }
}
