"""Price feeds in the published form of SkyPilot's and gpuhunt's catalogs become price books, no row lost."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from planner.catalog.catalog import Catalog
from planner.cli.catalog import app
from planner.errors import InputError, OutputError, UnknownNameError

SKYPILOT = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice"
GPUHUNT = (
    "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor,flags,cpu_arch,"
    "provider_data"
)
INFO = "\"{'Gpus': [{'Name': 'H100', 'Manufacturer': 'NVIDIA', 'Count': 8.0}]}\""


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["import-prices", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def fates(result: Result) -> dict[tuple[int, str], str]:
    return {(row["line"], row["plan"]): row["fate"] for row in json.loads(result.stdout)}


@pytest.fixture
def aws(tmp_path: Path) -> Path:
    """Three dozen rows of SkyPilot's catalog of AWS: two regions, zones, CPUs, an instance the catalog lacks."""
    rows = []
    for region, factor in (("us-east-1", 1.0), ("eu-north-1", 1.1)):
        for zone, spot in (("a", 20.0), ("b", 21.5)):
            rows.append(f"p5.48xlarge,H100,8.0,192,2048,{55.04 * factor:.2f},{region},{INFO},{spot}")
            rows.append(f"g6.xlarge,L4,1.0,4,16,{0.8048 * factor:.4f},{region},,")
            rows.append(f"g6e.12xlarge,L40S,4.0,48,384,{10.49 * factor:.2f},{region},,{3.5 + ord(zone) / 1000:.3f}")
            rows.append(f"p4de.24xlarge,A100-80GB,8.0,96,1152,{27.45 * factor:.2f},{region},,")
            rows.append(f"p3dn.24xlarge,V100-32GB,8.0,96,768,{31.2 * factor:.2f},{region},,")
            rows.append(f"m7i.large,,,2,8,{0.1 * factor:.2f},{region},,")
            rows.append(f"g5.xlarge,A10G,1.0,4,16,0,{region},,")
            rows.append(f"p5en.48xlarge,H200,8.0,192,2048,{126.6 * factor:.2f},{region},,")
            rows.append(f"g4dn.xlarge,T4,0.5,4,16,{0.3 * factor:.2f},{region},,")
    path = tmp_path / "aws" / "vms.csv"
    path.parent.mkdir()
    path.write_text("\n".join([SKYPILOT, *rows]) + "\n")
    return path


def test_every_row_of_a_skypilot_catalog_is_accounted_for(aws: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "cat"
    overlay.mkdir()
    found = run(
        aws,
        "--from",
        "skypilot",
        "--catalog",
        overlay,
        "--date",
        "2026-11-20",
        "--region",
        "us-east-1",
        "--format",
        "json",
    )
    became = fates(found)
    n_rows = len(aws.read_text().splitlines()) - 1
    assert {line for line, _ in became} == set(range(2, n_rows + 2))
    count = {fate: list(became.values()).count(fate) for fate in set(became.values())}
    assert count == {
        # p5 (on demand, spot), g6, g6e (on demand, spot), p4de; each again in zone b
        "used": 6, "repeated": 6, "no accelerator": 4, "other region": 20, "unmapped": 4, "no price": 2, "jump": 2,
    }  # fmt: skip
    catalog = Catalog([overlay])
    book = catalog.price_book("aws-feed")
    assert (book.provider, str(book.date), book.region, book.kind) == ("aws", "2026-11-20", "us-east-1", "quote")
    assert book.on_demand == {
        "aws-p5.48xlarge": 55.04, "aws-g6.xlarge": 0.8048, "aws-g6e.12xlarge": 10.49, "aws-p4de.24xlarge": 27.45,
    }  # fmt: skip
    assert book.spot == {"aws-p5.48xlarge": 21.5, "aws-g6e.12xlarge": 3.598}  # the dearest of the zones
    price = catalog.price_of("aws-g6e.12xlarge")
    assert price is not None and price.book == "aws-feed"


def test_a_gpuhunt_catalog_by_accelerator_and_count(tmp_path: Path) -> None:
    rows = [
        "gpu_8x_h100_sxm5,us-east-1,31.92,208,1800,8,H100,80.0,False,2400,nvidia,,x86,",
        "gpu_2x_h100_sxm5,us-east-1,8.38,52,450,2,H100,80.0,False,2400,nvidia,,x86,",
        "gpu_8x_b200_sxm6,us-east-1,53.52,208,1800,8,B200,180.0,False,2400,nvidia,,x86,",
        "gpu_8x_a100_80gb_sxm4,us-east-1,22.32,240,1800,8,A100,80.0,False,2400,nvidia,,x86,",
        "gpu_1x_gh200,us-east-1,2.29,64,432,1,GH200,96.0,False,2400,nvidia,,arm,",
        "cpu_4x_general,us-east-1,0.2,4,16,0,,,False,100,,,x86,",
        "gpu_8x_a100,us-east-1,9.90,124,1800,8,A100,40.0,True,2400,nvidia,,x86,",
    ]
    feed = tmp_path / "lambda.csv"
    feed.write_text("\n".join([GPUHUNT, *rows]) + "\n")
    found = run(feed, "--from", "gpuhunt", "--catalog", tmp_path / "cat", "--date", "2026-11-20", "--format", "csv")
    became = {int(row["line"]): row["fate"] for row in csv.DictReader(io.StringIO(found.stdout))}
    assert became == {2: "used", 3: "used", 4: "used", 5: "used", 6: "unmapped", 7: "no accelerator", 8: "used"}
    book = Catalog([tmp_path / "cat"]).price_book("lambda-feed")
    assert book.on_demand == {
        "lambda-8x-h100": 31.92, "lambda-2x-h100": 8.38, "lambda-8x-b200": 53.52, "lambda-8x-a100-80": 22.32,
    }  # fmt: skip
    assert book.spot == {"lambda-8x-a100-40": 9.90}


def plain(tmp_path: Path, *rows: str, head: str = "provider,instance,gpu,gpu_count,price,currency,region,date") -> Path:
    path = tmp_path / "feed.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


ROW = "aws,p5.48xlarge,H100,8,55.00,USD,us-east-1,2026-11-20"


@pytest.mark.parametrize(
    ("rows", "arguments", "words", "where"),
    [
        (["aws,p5.48xlarge,H100,8,50,XYZ,us-east-1,2026-11-20"], (), "prices in XYZ", "feed.csv:2"),
        ([ROW, ROW.replace("55.00", "56.00")], (), "two prices of aws-p5.48xlarge on_demand: 55.00 and 56.00", ":3"),
        ([ROW], ("--region", "us-esat-1"), "no row is of region 'us-esat-1'", "--region"),
        ([ROW, ROW.replace("us-east-1", "eu-north-1").replace("55", "60")], (), "prices differ between the 2", "feed"),
        ([ROW, ROW.replace("aws", "gcp")], (), "a second provider, gcp, beside aws", ":3"),
        ([ROW.replace("2026-11-20", "20.11.2026")], (), "not a date", ":2"),
        ([ROW + ",7"], (), "another number of values", ":2"),
        (["aws,p5.48xlarge,H100,8,0,USD,us-east-1,2026-11-20"], (), "no row of this feed makes a price", "feed.csv"),
        ([ROW.replace("2026", "2024")], (), "no row of this feed makes a price", "feed.csv"),  # stale
    ],
)  # fmt: skip
def test_bad_feeds_are_named_with_what_to_do(
    tmp_path: Path, rows: list[str], arguments: tuple[str, ...], words: str, where: str
) -> None:
    with pytest.raises(InputError) as caught:
        run(plain(tmp_path, *rows), "--from", "csv", "--catalog", tmp_path / "cat", *arguments)
    assert words in caught.value.what and where in str(caught.value.where) and caught.value.fix
    assert not (tmp_path / "cat").exists()


def test_jumps_and_stale_prices_count_only_when_accepted(tmp_path: Path) -> None:
    feed = plain(
        tmp_path, ROW.replace("55.00", "98.32"), ROW.replace("p5.48xlarge,H100,8,55.00", "g6.xlarge,L4,1,0.81")
    )
    overlay = tmp_path / "cat"
    result = run(feed, "--from", "csv", "--catalog", overlay)
    assert "55.04 in aws-2026-11 of 2026-11-09 -> 98.32 (+79%)" in result.stdout
    assert Catalog([overlay]).price_book("aws-feed").on_demand == {"aws-g6.xlarge": 0.81}
    with pytest.raises(OutputError, match="there already"):
        run(feed, "--from", "csv", "--catalog", overlay, "--accept-jumps")
    run(feed, "--from", "csv", "--catalog", overlay, "--accept-jumps", "--replace")
    assert Catalog([overlay]).price_book("aws-feed").on_demand["aws-p5.48xlarge"] == 98.32
    old = plain(tmp_path, ROW.replace("2026", "2024"))
    run(old, "--from", "csv", "--catalog", tmp_path / "old", "--accept-stale")
    assert str(Catalog([tmp_path / "old"]).price_book("aws-feed").date) == "2024-11-20"


def test_a_feed_of_another_form_without_date_or_provider(tmp_path: Path, aws: Path) -> None:
    with pytest.raises(InputError, match="not a gpuhunt catalog: no column"):
        run(aws, "--from", "gpuhunt", "--catalog", tmp_path / "cat")
    with pytest.raises(InputError, match="when these prices were valid"):
        run(aws, "--from", "skypilot", "--catalog", tmp_path / "cat")
    other = tmp_path / "downloads" / "prices.csv"
    other.parent.mkdir()
    other.write_text(aws.read_text())
    with pytest.raises(InputError, match="whose prices"):
        run(other, "--from", "skypilot", "--catalog", tmp_path / "cat", "--date", "2026-11-20")
    with pytest.raises(UnknownNameError, match="form of a feed"):
        run(aws, "--from", "skyplot", "--catalog", tmp_path / "cat")
    mapped = run(
        aws, "--from", "skypilot", "--catalog", tmp_path / "cat", "--date", "2026-11-20", "--region", "us-east-1",
        "--machine-map", "p3dn.24xlarge=8x-rtx-4090", "--accept-jumps",
    )  # fmt: skip
    assert "used" in mapped.stdout
    assert Catalog([tmp_path / "cat"]).price_book("aws-feed").on_demand["8x-rtx-4090"] == 31.2
