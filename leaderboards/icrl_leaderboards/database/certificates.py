"""Certificates of environments in the database: the newest one of each (environment, protocol)."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from icrl_leaderboards.database.schema import CertificateRow
from icrl_leaderboards.runs.certificates import Certificate


def write_certificate(connection: Connection, certificate: Certificate) -> None:
    """Inserts a certificate, in the place of an earlier one of its environment and protocol."""
    names = {"environment": certificate.environment, "protocol": certificate.protocol}
    table = CertificateRow.__table__
    connection.execute(delete(CertificateRow).where(*(table.c[name] == value for name, value in names.items())))
    connection.execute(insert(CertificateRow), [{**names, "content": certificate.model_dump(mode="json")}])


def load_certificates(connection: Connection) -> list[Certificate]:
    """All certificates, by environment and protocol."""
    table = CertificateRow.__table__
    rows = connection.execute(select(table.c.content).order_by(table.c.environment, table.c.protocol))
    return [Certificate.model_validate(content) for (content,) in rows]
