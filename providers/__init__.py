"""The registry of adapters: a provider's name → its adapter, imported when it is asked for."""

from importlib import import_module
from importlib.metadata import entry_points

from providers.adapter import Adapter

# One line a provider.
ADAPTERS = {
    "sendgrid": "providers.sendgrid:SendGrid",
    "mailgun": "providers.mailgun:Mailgun",
    "postmark": "providers.postmark:Postmark",
    "ses": "providers.ses:SES",
    "resend": "providers.resend:Resend",
    "brevo": "providers.brevo:Brevo",
    "mandrill": "providers.mandrill:Mandrill",
    "mailchimp": "providers.mailchimp:Mailchimp",
    "sparkpost": "providers.sparkpost:SparkPost",
    "mailjet": "providers.mailjet:Mailjet",
    "mailersend": "providers.mailersend:MailerSend",
    "mailtrap": "providers.mailtrap:Mailtrap",
    "customerio": "providers.customerio:CustomerIo",
    "klaviyo": "providers.klaviyo:Klaviyo",
    "postal": "providers.postal:Postal",
    "unisender_go": "providers.unisender_go:UnisenderGo",
    "scaleway": "providers.scaleway:Scaleway",
    "mailerlite": "providers.mailerlite:MailerLite",
    "azure": "providers.azure:Azure",
    "hubspot": "providers.hubspot:HubSpot",
    "activecampaign": "providers.activecampaign:ActiveCampaign",
    "campaign_monitor": "providers.campaign_monitor:CampaignMonitor",
    "kit": "providers.kit:Kit",
    "iterable": "providers.iterable:Iterable",
    "elastic_email": "providers.elastic_email:ElasticEmail",
    "smtp2go": "providers.smtp2go:Smtp2Go",
    "socketlabs": "providers.socketlabs:SocketLabs",
    "zeptomail": "providers.zeptomail:ZeptoMail",
    "ahasend": "providers.ahasend:AhaSend",
    "loops": "providers.loops:Loops",
    "lettermint": "providers.lettermint:Lettermint",
    "sweego": "providers.sweego:Sweego",
    "mailomat": "providers.mailomat:Mailomat",
    "standard_webhooks": "providers.standard_webhooks:StandardWebhooks",
    "custom": "providers.custom:Custom",
}

ENTRY_POINTS = "webhooks.providers"


def names() -> list[str]:
    """Every provider there is an adapter for: ours, and those that installed packages bring as entry points."""
    return sorted({*ADAPTERS, *entry_points(group=ENTRY_POINTS).names})


def is_known(name: str) -> bool:
    # Looking into every installed package takes 4 ms of a start.
    return name in ADAPTERS or name in names()


def load(name: str) -> type[Adapter]:
    """Raises KeyError for a name without an adapter."""
    if name in ADAPTERS:
        module, _, attribute = ADAPTERS[name].partition(":")
        found = getattr(import_module(module), attribute)
    else:
        found = entry_points(group=ENTRY_POINTS)[name].load()
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise TypeError(f"the adapter of {name} is no subclass of providers.adapter.Adapter but {found!r}")
    return found
