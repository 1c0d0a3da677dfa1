"""The titles that suppliers give to the columns of a price list, in English, German and French."""

from __future__ import annotations

import re
from dataclasses import replace

from planner.catalog.imports.quote_words import Saying, say
from planner.catalog.prices import PlanName

# Role of a column -> titles that mean it, in lower case, without unit and punctuation.
TITLES: dict[str, tuple[str, ...]] = {
    "machine": (
        "machine", "machine type", "item", "product", "instance", "instance type", "server", "server type", "system",
        "sku", "article", "configuration", "config", "node", "node type", "hardware", "equipment", "gpu server",
        "gpu type", "gpu model", "accelerator", "gpu", "maschine", "maschinentyp", "gerät", "artikel", "produkt",
        "bezeichnung", "servertyp", "serveur", "produit", "désignation", "modèle", "matériel", "type de machine",
    ),
    "price": (
        "price", "unit price", "price each", "rate", "unit rate", "quoted price", "net price", "list price",
        "offer price", "net unit price", "price per unit", "price net", "sale price", "our price", "final price",
        "discounted price", "price after discount", "fee", "preis", "einzelpreis", "stückpreis", "nettopreis",
        "netto preis", "preis netto", "listenpreis", "angebotspreis", "prix", "prix unitaire", "tarif", "prix net",
        "prix catalogue", "pu ht", "prix ht", "loyer", "miete",
    ),
    "unit": (
        "unit", "price unit", "billing unit", "uom", "per", "pricing unit", "unit of measure", "billing period",
        "einheit", "preiseinheit", "mengeneinheit", "unité", "unité de prix",
    ),
    "currency": ("currency", "ccy", "curr", "währung", "devise", "monnaie"),
    "date": (
        "date", "price date", "quote date", "offer date", "quoted on", "dated", "date of quote", "date of offer",
        "as of", "datum", "angebotsdatum", "stand", "preisstand", "date du devis", "date de l offre", "date offre",
    ),
    "valid_from": ("valid from", "effective from", "effective date", "gültig ab", "valable à partir du"),
    "expires": (
        "valid until", "expires", "expiry", "expiry date", "valid to", "offer valid until", "valid through",
        "valid thru",
        "valid till", "validity", "expiration", "expiration date", "quote valid until", "gültig bis", "bindefrist",
        "angebot gültig bis", "valable jusqu au", "valable jusqu à", "validité", "date d expiration",
        "fin de validité",
    ),
    "provider": (
        "provider", "vendor", "supplier", "seller", "company", "reseller", "cloud", "anbieter", "lieferant",
        "verkäufer", "fournisseur", "vendeur", "prestataire", "société",
    ),
    "plan": (
        "plan", "price plan", "term", "commitment", "contract", "pricing model", "contract term", "purchase option",
        "rent or buy", "laufzeit", "vertrag", "vertragslaufzeit", "bindung", "preismodell", "engagement", "durée",
        "contrat", "formule",
    ),
    "source": (
        "source", "price source", "quote", "quote no", "quote number", "quote id", "offer", "offer no", "offer number",
        "reference", "ref", "angebot", "angebotsnummer", "angebots nr", "referenz", "devis", "n devis",
        "numéro de devis", "référence", "offre",
    ),
    "minimum_order": (
        "minimum order", "moq", "min order", "minimum quantity", "min quantity", "min qty", "minimum", "mindestmenge",
        "mindestabnahme", "mindestbestellmenge", "quantité minimale", "commande minimale",
    ),
    "tier": (
        "from quantity", "qty from", "quantity from", "from qty", "tier", "volume", "volume tier", "price break",
        "break qty", "ab menge", "staffel", "palier", "à partir de",
    ),
    "lead_time": (
        "lead time", "leadtime", "delivery time", "delivery", "ships in", "lieferzeit", "délai", "délai de livraison",
    ),
    "available_from": (
        "available from", "available on", "availability date", "first available", "delivery date", "verfügbar ab",
        "liefertermin", "disponible à partir du", "disponible le",
    ),
    "stock": (
        "stock", "in stock", "available", "available units", "quantity available", "qty available", "quota",
        "max quantity", "max qty", "bestand", "lagerbestand", "verfügbare menge", "stock disponible", "en stock",
    ),
    "upfront": (
        "upfront", "upfront fee", "upfront payment", "up front", "setup fee", "one time fee", "anzahlung",
        "einmalkosten", "einmalige gebühr", "frais initiaux", "acompte",
    ),
    "quantity": (
        "quantity", "qty", "count", "no of units", "number of units", "menge", "anzahl", "stückzahl", "quantité",
        "qté",
        "nombre",
    ),
    "total": (
        "total", "total price", "line total", "amount", "extended price", "ext price", "extended", "summe", "gesamt",
        "gesamtpreis", "gesamtsumme", "total ht", "montant", "prix total",
    ),
    "discount": ("discount", "rebate", "rabatt", "nachlass", "remise"),
    "gpus": (
        "gpus", "gpu count", "number of gpus", "gpus per node", "gpus per server", "gpus per machine", "n gpus",
        "no of gpus", "accelerators", "gpu qty", "anzahl gpus", "gpus pro server", "nombre de gpu", "nombre de gpus",
    ),
    "region": ("region", "location", "data center", "datacenter", "zone", "standort", "rechenzentrum", "région",
               "lieu"),
    "life": ("life", "useful life", "depreciation", "depreciation period", "nutzungsdauer", "abschreibungsdauer",
             "durée de vie", "amortissement"),
    "residual": ("residual", "residual value", "resale value", "restwert", "valeur résiduelle"),
    "maintenance": ("maintenance", "support", "maintenance a year", "support a year", "wartung"),
    "notes": (
        "notes", "note", "remarks", "remark", "comment", "comments", "conditions", "terms", "description", "details",
        "bemerkung", "bemerkungen", "hinweis", "hinweise", "kommentar", "beschreibung", "remarque", "remarques",
        "commentaire", "commentaires",
    ),
}  # fmt: skip
REQUIRED = ("machine", "price")
ROLE_OF = {title: role for role, titles in TITLES.items() for title in titles}
# Titles of one word that hold the time, or the plan, of their prices.
_COMPOUND: dict[str, tuple[str, str | None]] = {
    "stundensatz": ("h", None), "stundenpreis": ("h", None), "monatspreis": ("month", None),
    "monatsmiete": ("month", None), "jahrespreis": ("year", None), "tagessatz": ("day", None),
    "kaufpreis": ("once", "owned"), "purchase price": ("once", "owned"), "prix d achat": ("once", "owned"),
    "capex": ("once", "owned"), "anschaffungspreis": ("once", "owned"),
}  # fmt: skip
# Price plans as people call them; a text may name one only.
_PLANS: tuple[tuple[PlanName, str], ...] = (
    ("reserved_3y", r"\b(?:3|three|drei|trois)[ -]?(?:y(?:ea)?rs?\b|y\b|jahr\w*|ans?\b)|"
                    r"\b36[ -]?(?:mo|mois)\w*|\breserved_3y\b"),
    ("reserved_2y", r"\b(?:2|two|zwei|deux)[ -]?(?:y(?:ea)?rs?\b|y\b|jahr\w*|ans?\b)|"
                    r"\b24[ -]?(?:mo|mois)\w*|\breserved_2y\b"),
    ("reserved_1y", r"\b(?:1|one|ein|un)[ -]?(?:y(?:ea)?rs?\b|y\b|jahr\w*|ans?\b)|"
                    r"\b12[ -]?(?:mo|mois)\w*|\breserved_1y\b"),
    ("spot", r"\bspot\b|\bpr[eé]empt\w*|\binterrupt\w*|\bunterbrechbar\b"),
    ("owned", r"\bown(?:ed|ing)?\b|\bpurchase\b|\bbuy\b|\bsale\b|\bcapex\b|\bkauf\b|\bachat\b|\boutright\b"),
    ("on_demand", r"\bon[ _-]?demand\b|\bpay[ -]?as[ -]?you[ -]?go\b|\bpayg\b|\brent(?:al)?\b|\bauf abruf\b|"
                  r"\bohne bindung\b|\bno commit\w*|\bnone\b|\bsans engagement\b|\bà la demande\b|\bmiete\b|"
                  r"\blocation\b"),
)  # fmt: skip
_PLAN_WORDS = re.compile(
    r"\b(?:reserved|reservation|reserviert|reservierung|reservé|réservé|réservation|commitment|committed|commit|"
    r"term|contract|savings plan|plan|instances?|price|pricing|rate|for|a|of|the|with|upfront|no|all|partial|vertrag|"
    r"bindung|engagement|laufzeit|durée|de|für|auf|pour|sur|prepaid|fixed|ri)\b",
    re.IGNORECASE,
)
_PRICE_LIKE = re.compile(r"\b(?:price|rate|prix|tarif)s?\b|preise?\b", re.IGNORECASE)
_NOT_A_PRICE = re.compile(
    r"\b(?:exchange|discount|tax|vat|interruption|source|date|unit of|plan|book|energy|electricity|total|token)",
    re.IGNORECASE,
)


def plan_of(text: str) -> tuple[PlanName | None, str]:
    """Return the price plan that a text names, and the words of it that say something else; two plans are none."""
    named = [(plan, pattern) for plan, pattern in _PLANS if re.search(pattern, text, re.IGNORECASE)]
    if len(named) != 1:
        return None, text
    plan, pattern = named[0]
    rest = re.sub(pattern, " ", text, flags=re.IGNORECASE)
    return plan, " ".join(re.sub(r"[^\w]", " ", _PLAN_WORDS.sub(" ", rest)).split())


def plain(title: str) -> str:
    """A title in lower case, without what stands in brackets and without punctuation."""
    text = re.sub(r"\(.*?\)|\[.*?\]", " ", title)
    return " ".join(re.sub(r"[^\w ]", " ", text.replace("_", " ")).casefold().split())


_UNIT_PHRASES = (
    r"\((?:.*?)\)|\[(?:.*?)\]",
    r"(?:/|\bper\b|\bpro\b|\bpar\b|\bje\b)\s*[\w-]+",
    r"\b(?:hourly|daily|weekly|monthly|yearly|annual|annually|horaire|mensuel(?:le)?|annuel(?:le)?|stündlich|"
    r"monatlich|jährlich)\b",
    r"\b(?:in|en)\s+[A-Z]{3}\b",
    r"\bexcl\.? .*|\bincl\.? .*|\bHT\b|\bTTC\b|\bzzgl\.? .*|\binkl\.? .*|\bohne .*",
)


def without_units(title: str) -> str:
    """A title without the phrases that name a unit: `Unit price per GPU/hour, USD` is `unit price`."""
    text = title
    for phrase in _UNIT_PHRASES:
        text = re.sub(phrase, " ", text, flags=0 if "[A-Z]" in phrase or "HT" in phrase else re.IGNORECASE)
    text = re.sub(r"(?:US|CA|C|A|NZ|HK|S)?\$|[€£₹]|['’]000s?", " ", text)
    words = [w for w in re.sub(r"[^\w ]", " ", text.replace("_", " ")).split()
             if say(w).currency is None and not re.fullmatch(r"[kT]?(?:USD|EUR|GBP|CHF)", w)]  # fmt: skip
    return " ".join(words).casefold()


def role_of(title: str) -> tuple[str | None, str]:
    """Return the role that a title names, and the words that name it."""
    for words in (" ".join(re.sub(r"[^\w ]", " ", title.replace("_", " ")).casefold().split()), plain(title),
                  without_units(title)):  # fmt: skip
        if words in ROLE_OF:
            return ROLE_OF[words], words
        if words in _COMPOUND:
            return "price", words
    plan, rest = plan_of(without_units(title))
    if plan is not None and rest in ("", *TITLES["price"]) and say(title).says_something:
        return "price", "plan"  # a column of prices of one plan: `Reserved 1 year (USD/h)`
    return None, ""


def price_title(title: str) -> tuple[Saying, PlanName | None]:
    """What the title of a price says of its unit and its plan."""
    words = role_of(title)[1]
    plan, _ = plan_of(title)
    rest = _without(title, words)
    if plan is not None:
        rest = re.sub(dict(_PLANS)[plan], " ", rest, flags=re.IGNORECASE)
        rest = _PLAN_WORDS.sub(" ", rest)
    saying = say(rest)
    period, named = _COMPOUND.get(words, (saying.period, plan))
    return replace(saying, period=period), named  # type: ignore[return-value]


def _without(title: str, words: str) -> str:
    """The rest of a title behind the words that gave it its role."""
    rest = title
    for word in words.split():
        rest = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", " ", rest, count=1, flags=re.IGNORECASE)
    return rest


def is_price_like(title: str) -> bool:
    """Whether a title could mean a price, though it is not one of the usual ones."""
    return bool(_PRICE_LIKE.search(title)) and not _NOT_A_PRICE.search(title)
