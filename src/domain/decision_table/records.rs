//! The CSV of a table: RFC 4180, strictly. Ordinary CSV readers repair what they meet; a table of
//! law that needs repair is one that nobody meant.

use super::TableError;

/// One record and the line on which it starts.
#[derive(Debug)]
pub(super) struct Record {
    pub line: usize,
    pub fields: Vec<String>,
}

/// Splits the bytes into records. A record that cannot be read is an error and left out.
pub(super) fn read(table: &[u8], errors: &mut Vec<TableError>) -> Vec<Record> {
    let table = table.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(table);
    let text = match std::str::from_utf8(table) {
        Ok(text) => text,
        Err(error) => {
            let line = 1 + table[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            errors.push(TableError { line, column: None, message: "not UTF-8".into() });
            return Vec::new();
        }
    };
    let mut reader = Reader { rest: text.trim_end_matches(['\r', '\n']), line: 1 };
    let mut records = Vec::new();
    while !reader.rest.is_empty() {
        let line = reader.line;
        match reader.record() {
            Ok(fields) => records.push(Record { line, fields }),
            Err(message) => {
                errors.push(TableError { line, column: None, message: message.to_owned() });
                reader.skip_line();
            }
        }
    }
    records
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn record(&mut self) -> Result<Vec<String>, &'static str> {
        let mut fields = Vec::new();
        loop {
            fields.push(if self.rest.starts_with('"') { self.quoted()? } else { self.plain()? });
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None => {
                    self.skip_line();
                    return Ok(fields);
                }
            }
        }
    }

    /// A field without quotes: up to a comma or the end of the line.
    fn plain(&mut self) -> Result<String, &'static str> {
        let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
        let field = &self.rest[..end];
        let ends_line = !self.rest[end..].starts_with(',');
        let field = if ends_line { field.strip_suffix('\r').unwrap_or(field) } else { field };
        if field.contains('"') {
            return Err("a quote inside a field that does not begin with one");
        }
        if field.contains('\r') {
            return Err("a carriage return that ends no line");
        }
        self.rest = &self.rest[end..];
        Ok(field.to_owned())
    }

    /// A field in quotes, which may hold commas, line ends and doubled quotes.
    fn quoted(&mut self) -> Result<String, &'static str> {
        let mut field = String::new();
        let mut rest = &self.rest[1..];
        loop {
            let end = rest.find('"').ok_or("a quote is opened and never closed")?;
            field.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(after) => {
                    field.push('"');
                    rest = after;
                }
                None => break,
            }
        }
        let after_cr = rest.strip_prefix('\r').unwrap_or(rest);
        if !rest.is_empty() && !rest.starts_with(',') && !after_cr.is_empty() && !after_cr.starts_with('\n') {
            return Err("something stands after the closing quote of a field");
        }
        self.line += field.matches('\n').count();
        self.rest = if rest.starts_with(',') { rest } else { after_cr };
        Ok(field)
    }

    /// Goes on after the next line end.
    fn skip_line(&mut self) {
        match self.rest.split_once('\n') {
            Some((_, rest)) => {
                self.rest = rest;
                self.line += 1;
            }
            None => self.rest = "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(table: &str) -> Vec<Vec<String>> {
        let mut errors = Vec::new();
        let records = read(table.as_bytes(), &mut errors);
        assert_eq!(errors, []);
        records.into_iter().map(|record| record.fields).collect()
    }

    fn error(table: &[u8]) -> TableError {
        let mut errors = Vec::new();
        read(table, &mut errors);
        errors.remove(0)
    }

    #[test]
    fn quotes_commas_and_line_ends() {
        assert_eq!(fields("a,b\nc,d\n"), [["a", "b"], ["c", "d"]]);
        assert_eq!(fields("\u{feff}a,b\r\nc,d\r\n\r\n"), [["a", "b"], ["c", "d"]]);
        assert_eq!(fields("\"a,\"\"b\"\"\nc\",\"\"\n,"), [["a,\"b\"\nc", ""], ["", ""]]);
        assert_eq!(fields("\"a\"\r\n\"b\"\r\n"), [["a"], ["b"]]);
        assert!(fields("").is_empty() && fields("\n\n").is_empty());
    }

    #[test]
    fn a_blank_line_among_the_rows_is_a_record_with_one_field() {
        assert_eq!(fields("a,b\n\nc,d"), [vec!["a", "b"], vec![""], vec!["c", "d"]]);
    }

    #[test]
    fn lines_are_counted_through_quoted_line_ends() {
        let mut errors = Vec::new();
        let records = read(b"a\n\"b\nb\"\nc", &mut errors);
        assert_eq!(records.iter().map(|r| r.line).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn what_needs_repair_is_refused_where_it_stands() {
        assert_eq!(error(b"a\nb\"b\n").line, 2);
        assert_eq!(error(b"a\n\"b\"c\n").line, 2);
        assert_eq!(error(b"a\nb\n\"c\n").line, 3);
        assert_eq!(error(b"a\rb\n").line, 1);
        assert_eq!(error(b"a\n\xff\n").line, 2);
        assert!(error(b"a\n\"b\n").message.contains("never closed"));
    }
}
