//! Columns of text, as kubectl prints them: a column is as wide as its widest cell and three spaces, at least six; the
//! last column is not padded. A table that is printed in parts (`--watch`) keeps its widths.

/// Prints rows in columns; remembers widths.
#[derive(Default)]
pub struct Columns {
    widths: Vec<usize>,
}

const PADDING: usize = 3;
const MINIMUM: usize = 6;

impl Columns {
    /// The rows as lines.
    pub fn format(&mut self, rows: &[Vec<String>]) -> String {
        for row in rows {
            for (i, cell) in row.iter().enumerate() {
                if self.widths.len() <= i {
                    self.widths.push(MINIMUM);
                }
                self.widths[i] = self.widths[i].max(cell.chars().count() + PADDING);
            }
        }
        let mut out = String::new();
        for row in rows {
            for (i, cell) in row.iter().enumerate() {
                out.push_str(cell);
                if i + 1 < row.len() {
                    let pad = self.widths[i] - cell.chars().count();
                    out.extend(std::iter::repeat_n(' ', pad));
                }
            }
            out.push('\n');
        }
        out
    }
}

/// Rows in columns, once.
pub fn columns(rows: &[Vec<String>]) -> String {
    Columns::default().format(rows)
}

/// Lines with tab-separated cells in columns that are `padding` apart, group by group: a cell's column is as wide as the
/// widest cell in the run of adjacent lines that have it (Go's tabwriter, which `describe` is written with).
pub fn tabbed(text: &str, padding: usize) -> String {
    let rows: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = rows.iter().map(|r| vec![0; r.len()]).collect();
    let most = rows.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..most {
        let mut start = 0;
        while start < rows.len() {
            // A cell is closed by a tab: the last one of a line belongs to no column.
            let has = |r: &Vec<&str>| r.len() > column + 1;
            if !has(&rows[start]) {
                start += 1;
                continue;
            }
            let end = (start..rows.len()).find(|i| !has(&rows[*i])).unwrap_or(rows.len());
            let width = rows[start..end].iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
            // Go's tabwriter gives a column of empty cells no width at all (DiscardEmptyColumns is not set: padding stays).
            (start..end).for_each(|i| widths[i][column] = width + padding);
            start = end;
        }
    }
    let lines: Vec<String> = rows
        .iter()
        .zip(&widths)
        .map(|(row, widths)| {
            let mut line = String::new();
            for (i, cell) in row.iter().enumerate() {
                line.push_str(cell);
                if i + 1 < row.len() {
                    line.extend(std::iter::repeat_n(' ', widths[i].saturating_sub(cell.chars().count())));
                }
            }
            line
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    //! Tests of columns.
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|c| (*c).to_string()).collect()
    }

    #[test]
    fn widths_are_kept() {
        let mut table = Columns::default();
        assert_eq!(table.format(&[row(&["NAME", "AGE"]), row(&["web-1", "5s"])]), "NAME    AGE\nweb-1   5s\n");
        assert_eq!(table.format(&[row(&["x", "6s"])]), "x       6s\n");
        assert_eq!(columns(&[row(&["A", "B"])]), "A     B\n");
    }

    #[test]
    fn tabs_line_up_group_by_group() {
        assert_eq!(
            tabbed("Name:\tx\nNamespace:\ty\nplain\nA:\tz\n", 2),
            "Name:       x\nNamespace:  y\nplain\nA:  z\n"
        );
    }
}
