//! How deep a statement may be. Parsing, planning and dropping its tree walk down a level for each
//! operator and clause, on a stack that has an end.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Operators and clauses of one message.
const LEVELS_MAX: usize = 4_000;

/// Refuses a text whose tree would be too deep to walk.
///
/// # Errors
/// The reason, for the client.
pub(super) fn weigh(sql: &str) -> Result<(), String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize();
    // What is no text at all is told by the parser.
    let Ok(tokens) = tokens else { return Ok(()) };
    let is_level = |token: &Token| match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::SELECT
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::JOIN
                | Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::CASE
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::IS
                | Keyword::COLLATE
        ),
        Token::Whitespace(_)
        | Token::Comma
        | Token::SemiColon
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::Period
        | Token::RParen
        | Token::RBracket
        | Token::Placeholder(_) => false,
        _ => true,
    };
    match tokens.iter().filter(|token| is_level(token)).count() {
        levels if levels > LEVELS_MAX => Err(format!(
            "the statement has {levels} operators and clauses, more than {LEVELS_MAX}"
        )),
        _ => Ok(()),
    }
}
