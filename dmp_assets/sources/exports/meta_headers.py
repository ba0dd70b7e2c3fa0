"""What the columns of Ads Manager's exports are called, in seven languages.

English, German, French, Spanish, Portuguese, Italian, Dutch, in this order. Ads Manager has renamed
columns over the years, and differs between countries of one language: all the names are here. Case,
blanks and signs do not matter; others are told by DMP_ADS_EXPORT_COLUMNS.
"""

HEADERS = {
    "account_id": (
        "Account ID", "Konto-ID", "Werbekonto-ID", "ID du compte", "Identifiant du compte",
        "ID du compte publicitaire", "Identificador de la cuenta", "ID de la cuenta",
        "Identificação da conta", "ID da conta", "ID account", "ID dell'account",
        "ID dell'account pubblicitario", "Advertentieaccount-ID",
    ),
    "currency": ("Currency", "Währung", "Devise", "Divisa", "Moneda", "Moeda", "Valuta"),
    "campaign_id": (
        "Campaign ID", "Kampagnen-ID", "ID de la campagne", "Identifiant de la campagne",
        "N° de la campagne", "Identificador de la campaña", "ID de la campaña",
        "Identificação da campanha", "ID da campanha", "ID campagna", "ID della campagna",
        "Campagne-ID",
    ),
    "campaign_name": (
        "Campaign name", "Kampagnenname", "Name der Kampagne", "Nom de la campagne",
        "Nombre de la campaña", "Nome da campanha", "Nome della campagna", "Nome campagna",
        "Campagnenaam", "Naam campagne",
    ),
    "adset_id": (
        "Ad set ID", "Anzeigengruppen-ID", "ID de l'ensemble de publicités",
        "Identifiant de l'ensemble de publicités", "N° de l'ensemble de publicités",
        "Identificador del conjunto de anuncios", "ID del conjunto de anuncios",
        "Identificação do conjunto de anúncios", "ID do conjunto de anúncios",
        "ID gruppo di inserzioni", "ID del gruppo di inserzioni", "Advertentieset-ID",
        "ID advertentieset",
    ),
    "adset_name": (
        "Ad set name", "Anzeigengruppenname", "Name der Anzeigengruppe",
        "Nom de l'ensemble de publicités", "Nombre del conjunto de anuncios",
        "Nome do conjunto de anúncios", "Nome del gruppo di inserzioni",
        "Nome gruppo di inserzioni", "Naam advertentieset", "Advertentiesetnaam",
    ),
    "ad_id": (
        "Ad ID", "Anzeigen-ID", "Werbeanzeigen-ID", "ID de la publicité",
        "Identifiant de la publicité", "N° de la publicité", "Identificador del anuncio",
        "ID del anuncio", "Identificação do anúncio", "ID do anúncio", "ID inserzione",
        "ID dell'inserzione", "Advertentie-ID", "ID advertentie",
    ),
    "ad_name": (
        "Ad name", "Anzeigenname", "Name der Anzeige", "Name der Werbeanzeige",
        "Werbeanzeigenname", "Nom de la publicité", "Nombre del anuncio", "Nome do anúncio",
        "Nome dell'inserzione", "Nome inserzione", "Advertentienaam", "Naam advertentie",
    ),
    "day": ("Day", "Tag", "Jour", "Día", "Dia", "Giorno", "Dag"),
    "reporting_starts": (
        "Reporting starts", "Berichtsstart", "Berichtsbeginn", "Auswertungsstart",
        "Auswertungsbeginn", "Début des rapports", "Inicio del informe",
        "Inicio de los informes", "Início dos relatórios", "Inizio dei report",
        "Inizio del report", "Start rapportage",
    ),
    "reporting_ends": (
        "Reporting ends", "Berichtsende", "Auswertungsende", "Fin des rapports",
        "Fin del informe", "Fin de los informes", "Término dos relatórios",
        "Encerramento dos relatórios", "Fine dei report", "Fine del report",
        "Einde rapportage",
    ),
    "age": ("Age", "Alter", "Âge", "Edad", "Idade", "Età", "Leeftijd"),
    "gender": ("Gender", "Geschlecht", "Genre", "Sexe", "Sexo", "Gênero", "Genere", "Geslacht"),
    "publisher_platform": (
        "Platform", "Plattform", "Plateforme", "Plataforma", "Piattaforma",
    ),
    "platform_position": (
        "Placement", "Platzierung", "Ubicación", "Posicionamento", "Posizionamento",
        "Plaatsing",
    ),
    "country": ("Country", "Land", "Pays", "País", "Paese"),
    "region": ("Region", "Région", "Región", "Região", "Regione", "Regio"),
    "impressions": (
        "Impressions", "Impressionen", "Impresiones", "Impressões", "Impression",
        "Impressioni", "Weergaven", "Vertoningen",
    ),
    "reach": ("Reach", "Reichweite", "Couverture", "Portée", "Alcance", "Copertura", "Bereik"),
    "clicks": (
        "Clicks (all)", "Klicks (alle)", "Clics (tous)", "Clics (todos)", "Cliques (todos)",
        "Clic (tutti)", "Klikken (alle)",
    ),
    "inline_link_clicks": (
        "Link clicks", "Link-Klicks", "Clics sur un lien", "Clics sur le lien",
        "Clics en el enlace", "Cliques no link", "Clic sul link", "Klikken op links",
        "Linkkliks", "Link-kliks",
    ),
    "spend": (
        "Amount spent", "Ausgegebener Betrag", "Montant dépensé", "Importe gastado",
        "Valor usado", "Valor gasto", "Importo speso", "Besteed bedrag",
    ),
    "purchases": ("Purchases", "Käufe", "Achats", "Compras", "Acquisti", "Aankopen"),
    "purchase_value": (
        "Purchases conversion value", "Purchase conversion value", "Conversion-Wert für Käufe",
        "Conversion-Wert von Käufen", "Conversion-Wert der Käufe", "Kauf-Conversion-Wert",
        "Kaufwert", "Wert der Käufe", "Valeur de conversion des achats",
        "Valeur de conversion d'achat", "Valor de conversión de compras",
        "Valor de conversión de las compras", "Valor de conversão da compra",
        "Valor de conversão das compras", "Valor de conversão de compras",
        "Valore di conversione degli acquisti", "Valore di conversione dell'acquisto",
        "Conversiewaarde aankopen", "Conversiewaarde van aankopen",
    ),
    "purchase_roas": (
        "Purchase ROAS (return on ad spend)", "ROAS (Return on Ad Spend) für Käufe",
        "ROAS für Käufe (Return on Ad Spend)", "Kauf-ROAS (Return on Ad Spend)",
        "ROAS für Käufe", "ROAS (retour sur les dépenses publicitaires) des achats",
        "ROAS (retour sur dépenses publicitaires) des achats", "ROAS des achats",
        "ROAS (retorno de la inversión en publicidad) de compras",
        "ROAS (retorno de la inversión publicitaria) de compras", "ROAS de las compras",
        "ROAS de compras", "ROAS (retorno sobre o investimento em publicidade) das compras",
        "Retorno sobre o investimento em publicidade (ROAS) das compras",
        "ROAS (ritorno sulla spesa pubblicitaria) degli acquisti", "ROAS degli acquisti",
        "ROAS (rendement op advertentie-uitgaven) voor aankoop",
        "Aankoop-ROAS (rendement op advertentie-uitgaven)",
    ),
    "website_purchases": (
        "Website purchases", "Website-Käufe", "Käufe auf der Website", "Achats sur le site web",
        "Achats sur site web", "Compras en el sitio web", "Compras no site",
        "Acquisti sul sito web", "Aankopen op website",
    ),
    "website_purchase_value": (
        "Website purchases conversion value", "Website purchase conversion value",
        "Conversion-Wert für Website-Käufe", "Conversion-Wert von Website-Käufen",
        "Valeur de conversion des achats sur le site web",
        "Valor de conversión de compras en el sitio web",
        "Valor de conversão da compra no site", "Valor de conversão de compras no site",
        "Valore di conversione degli acquisti sul sito web",
        "Conversiewaarde aankopen op website",
    ),
    "website_purchase_roas": (
        "Website purchase ROAS (return on ad spend)",
        "ROAS (Return on Ad Spend) für Website-Käufe",
        "ROAS (retour sur les dépenses publicitaires) des achats sur le site web",
        "ROAS (retorno de la inversión en publicidad) de compras en el sitio web",
        "ROAS (retorno sobre o investimento em publicidade) das compras no site",
        "ROAS (ritorno sulla spesa pubblicitaria) degli acquisti sul sito web",
        "ROAS voor aankoop voor website",
    ),
    "attribution_setting": (
        "Attribution setting", "Attributionseinstellung", "Paramètre d'attribution",
        "Configuración de atribución", "Configuração de atribuição",
        "Impostazione di attribuzione", "Toeschrijvingsinstelling",
    ),
    "objective": ("Objective", "Ziel", "Objectif", "Objetivo", "Obiettivo", "Doelstelling"),
}  # fmt: skip
