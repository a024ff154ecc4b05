//! Files as people have them: workbooks, broken encodings, French columns, and files made to do harm.

use std::io::{Cursor, Write};

use ouinon::domain::import::dates::DateOrder;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{Reading, plan_of, told, try_plan};
use crate::world::{World, on_both, on_sqlite};

/// A package of these parts.
fn package(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A workbook whose sheets hold these rows of cells, as XML.
fn xlsx(sheets: &[(&str, &str)]) -> Vec<u8> {
    let mut list = String::new();
    let mut relations = String::new();
    let mut types = String::new();
    let mut parts = Vec::new();
    for (index, (name, rows)) in sheets.iter().enumerate() {
        let n = index + 1;
        list.push_str(&format!(r#"<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>"#));
        relations.push_str(&format!(r#"<Relationship Id="rId{n}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet{n}.xml"/>"#));
        types.push_str(&format!(r#"<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>"#));
        parts.push((format!("xl/worksheets/sheet{n}.xml"), format!(r#"<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{rows}</sheetData></worksheet>"#)));
    }
    let styles = r#"<?xml version="1.0"?><styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#;
    let workbook = format!(
        r#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>{list}</sheets></workbook>"#
    );
    let relations = format!(
        r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{relations}<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>"#
    );
    let types = format!(
        r#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>{types}</Types>"#
    );
    let root = r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
    let mut all: Vec<(&str, &str)> = vec![
        ("[Content_Types].xml", &types),
        ("_rels/.rels", root),
        ("xl/workbook.xml", &workbook),
        ("xl/_rels/workbook.xml.rels", &relations),
        ("xl/styles.xml", styles),
    ];
    all.extend(parts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    package(&all)
}

fn text_cell(at: &str, text: &str) -> String {
    format!(r#"<c r="{at}" t="inlineStr"><is><t>{text}</t></is></c>"#)
}

fn row(number: usize, cells: &[&str]) -> String {
    let cells: String = cells
        .iter()
        .enumerate()
        .filter(|(_, c)| !c.is_empty())
        .map(|(i, c)| text_cell(&format!("{}{number}", char::from(b'A' + i as u8)), c))
        .collect();
    format!(r#"<row r="{number}">{cells}</row>"#)
}

fn ods(rows: &str) -> Vec<u8> {
    let content = format!(
        r#"<?xml version="1.0"?><office:document-content xmlns:office="o" xmlns:table="t" xmlns:text="x"><office:body><office:spreadsheet><table:table table:name="Feuille1">{rows}<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/></table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"#
    );
    package(&[("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", &content)])
}

on_both! {
    /// A workbook with a title of dates, a formula, a merged cell, and a sheet of notes beside.
    async fn workbooks_are_read_like_their_csv(world: &mut World) {
        world.product("crm").await;
        let header = ["E-mail", "Type", "Pays", "Type de source", "Date d'inscription"];
        let dated = format!(r#"<row r="2">{}{}{}{}<c r="E2" s="1"><v>45734</v></c></row>"#, text_cell("A2", "a@s.example"), text_cell("B2", "Pro"), text_cell("C2", "France"), text_cell("D2", "salon"));
        let formula = format!(r#"<row r="4">{}{}{}{}<c r="E4" s="1"><f>E2+1</f><v>45735</v></c></row>"#, text_cell("A4", "B@s.example"), text_cell("B4", "professionnel"), text_cell("C4", "FR"), text_cell("D4", "salon"));
        let sheet = format!("{}{dated}{formula}{}", row(1, &header), row(5, &["c@s.example", "", "FR", "", ""]));
        let plan = plan_of(world, &[("old.xlsx", &xlsx(&[("Contacts", &sheet), ("Vide", "")]))], &Reading::default()).await;
        assert_eq!((plan.lines, told(&plan).as_str()), (3, "askable 2, unknown 1"), "{:?}", plan.files);
        assert_eq!(plan.files[0].sheet.as_deref(), Some("Contacts"));

        let two = xlsx(&[("Contacts", &sheet), ("Autres", &row(1, &["email", "kind"]))]);
        let error = try_plan(world, &[("old.xlsx", &two)], &Reading::default()).await.unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("Contacts, Autres") && error.to_string().contains("--sheet"), "{error}");
        let reading = Reading { sheet: Some("Contacts"), ..Reading::default() };
        assert_eq!(told(&plan_of(world, &[("old.xlsx", &two)], &reading).await), "askable 2, unknown 1");

        let cell = |text: &str| format!("<table:table-cell office:value-type=\"string\"><text:p>{text}</text:p></table:table-cell>");
        let header: String = header.iter().map(|c| cell(c)).collect();
        let rows = format!(
            "<table:table-row>{header}</table:table-row><table:table-row>{}{}{}{}<table:table-cell office:value-type=\"date\" office:date-value=\"2025-03-18\"><text:p>18/03/25</text:p></table:table-cell></table:table-row>\
             <table:table-row table:number-rows-repeated=\"2\">{}{}{}<table:table-cell/><office:annotation><text:p>note</text:p></office:annotation><table:table-cell/></table:table-row>",
            cell("a@s.example"), cell("Pro"), cell("FR"), cell("salon"), cell("d&amp;e@s.example"), cell("Pro"), cell("FR"));
        let plan = plan_of(world, &[("old.ods", &ods(&rows))], &Reading::default()).await;
        assert_eq!((plan.lines, told(&plan).as_str()), (3, "askable 1, duplicate 1, unknown 1"));
    }

    /// An old export of a French program: Windows-1252, semicolons, its own column names, dates both ways.
    async fn a_french_export(world: &mut World) {
        world.product("crm").await;
        let text = "Adresse e-mail;Prénom;Nom;Société;Téléphone;Pays;Type;Date d'inscription;Origine;Statut;Remarque\r\n\
            a@s.example;Zoé;Müller;\"Café; \"\"Zoé\"\"\";0102030405;France;Pro;04/05/2025;Salon;Abonné;\r\n\
            b@s.example;Léa;;\"Deux\r\nLignes\";;France;Pro;18 mars 2025;Salon;Désabonné;\r\n\
            c@s.example;;;;;France;Particulier;2025-03-18;Salon;Abonné;\r\n\
            d@s.example;;;;;France;Pro;45734;Salon;Abonné;STOP\r\n\
            ;;;;;France;Pro;2025-03-18;Salon;Abonné;\r\n";
        let (bytes, ..) = encoding_rs::WINDOWS_1252.encode(text);
        let files = [("vieux.csv", bytes.as_ref())];
        let plan = plan_of(world, &files, &Reading::default()).await;
        let file = &plan.files[0];
        assert_eq!((file.encoding.as_str(), file.delimiter), ("windows-1252", Some(';')));
        assert_eq!(file.left_out, ["Téléphone", "Remarque"]);
        assert_eq!(told(&plan), "invalid 2, no-basis 1, refused 2", "an ambiguous date is refused until told: {:?}", plan.by_reason);
        let reading = Reading { date_order: Some(DateOrder::Dmy), ..Reading::default() };
        let plan = plan_of(world, &files, &reading).await;
        assert_eq!(told(&plan), "askable 1, invalid 1, no-basis 1, refused 2");
    }
}

/// Files that nobody should have made. One engine is enough: nothing of them reaches a database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_files_are_refused_or_sorted_and_never_bring_it_down() {
    on_sqlite(async |world| {
        world.product("crm").await;
        let huge = format!("email,source\na@s.example,{}\nb@s.example,x\n", "x".repeat(300_000));
        let quotes = format!("email,source\na@s.example,\"{}\nb@s.example,x\n", "y\n".repeat(10));
        for (what, bytes, lines) in [
            ("ragged", b"email,kind\na@s.example\nb@s.example,b2b,x,y\n\"c@s.example\",b2b\n".to_vec(), 3),
            ("a byte order mark", b"\xEF\xBB\xBFemail;kind\r\na@s.example;b2b\r\n".to_vec(), 1),
            ("broken UTF-8", b"email,first_name\na@s.example,\xC3\xA9t\xC3\xA9\nb@s.example,\xFFx\n".to_vec(), 2),
            ("a huge cell", huge.into_bytes(), 2),
            ("a quote that is not closed", quotes.into_bytes(), 11),
            ("one column", b"courriel\na@s.example\n".to_vec(), 1),
            ("columns without a name", b"email,,\na@s.example,x,y\n".to_vec(), 1),
            ("no name that is known", b"X1;X2\n1;a@s.example\n2;b@s.example\n".to_vec(), 2),
        ] {
            let plan = plan_of(world, &[("f.csv", &bytes)], &Reading::default()).await;
            assert_eq!(plan.lines, lines, "{what}: {plan:?}");
        }
        let row = r#"<table:table-row table:number-rows-repeated="1048576"><table:table-cell table:number-columns-repeated="16384" office:value-type="string"><text:p>xxxxxxxxxxxxxxxxxxxx</text:p></table:table-cell></table:table-row>"#;
        let bomb = ods(row);
        let deep = "<a>".repeat(100_000);
        for (what, bytes) in [
            ("empty", Vec::new()),
            ("a header alone", b"email;kind\n".to_vec()),
            ("zeros", vec![0; 4096]),
            ("an image", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0".to_vec()),
            ("an old workbook", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 and so on".to_vec()),
            ("a package that is none", b"PK\x03\x04 and nothing else".to_vec()),
            ("a package without sheets", package(&[("hello.txt", "x")])),
            ("a workbook that repeats without end", bomb),
            ("XML without end", package(&[("content.xml", &deep)])),
            ("nobody's list", b"nom;ville\nx;y\n".to_vec()),
            ("no address", b"email;kind\n".to_vec()),
        ] {
            let error = try_plan(world, &[("f.csv", &bytes)], &Reading::default()).await;
            let error = error.err().unwrap_or_else(|| panic!("{what} is taken"));
            assert!(error.is_bad_input(), "{what}: {error}");
        }
        let error = try_plan(world, &[("f.csv", b"email\na@s.example\n")], &Reading { map: &[("Nope", "kind")], ..Reading::default() }).await;
        assert!(error.unwrap_err().to_string().contains("--map Nope"));
    })
    .await;
}
