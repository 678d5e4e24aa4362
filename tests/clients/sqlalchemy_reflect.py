"""What Superset and others do through SQLAlchemy: schemas, tables, views, columns, comments, keys."""
import os

import sqlalchemy as sa

address = f"ana:{os.environ['PASSWORD'].replace(' ', '%20')}@127.0.0.1:{os.environ['PG_PORT']}/kolumn"
for driver in ("psycopg", "psycopg2"):
    engine = sa.create_engine(f"postgresql+{driver}://{address}")
    inspector = sa.inspect(engine)
    assert "public" in inspector.get_schema_names(), inspector.get_schema_names()
    tables = inspector.get_table_names()
    assert {"audit", "component", "inventory", "rejected", "ledger"} <= set(tables), tables
    views = inspector.get_view_names()
    assert "mutations" in views, views
    columns = {c["name"]: c for c in inspector.get_columns("audit")}
    assert len(columns) == 83, len(columns)
    assert isinstance(columns["stage_timestamp"]["type"], sa.types.TIMESTAMP), columns["stage_timestamp"]
    assert columns["stage_timestamp"]["type"].timezone
    assert isinstance(columns["response_code"]["type"], sa.types.INTEGER)
    assert isinstance(columns["name"]["type"], sa.types.TEXT)
    assert "when the stage was reached" in columns["stage_timestamp"]["comment"]
    assert "one audit event" in inspector.get_table_comment("audit")["text"]
    assert inspector.get_pk_constraint("audit")["constrained_columns"] == []
    assert inspector.get_foreign_keys("audit") == []
    assert inspector.get_indexes("audit") == []
    assert inspector.has_table("audit") and not inspector.has_table("absent")
    audit = sa.Table("audit", sa.MetaData(), autoload_with=engine)
    hour = sa.func.date_trunc("hour", audit.c.stage_timestamp).label("hour")
    with engine.connect() as connection:
        asked = sa.select(hour, sa.func.count()).where(audit.c.name.in_(["a", "c"])).group_by(hour)
        rows = connection.execute(asked).all()
        assert len(rows) == 1 and rows[0][1] == 2, rows
        assert connection.execute(sa.select(audit.c.name).order_by(audit.c.name).limit(2)).scalars().all() == ["a", "b"]
        assert connection.dialect.server_version_info == (16, 6)
print("done")
