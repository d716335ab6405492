//! `POST /graphql`: a question taken apart, its variables put in, its answer cut to what was asked for.
//!
//! *Not here:* grammar (`graphql-parser`), what there is to ask for (`query`). No introspection, no mutations.
//!
//! Invariant: a field that nobody answers, or a variable that was not given, is an error that names it, never an empty answer.

use std::collections::BTreeMap;

use graphql_parser::query::{
    Definition, Directive, Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet, Value as Ast,
    VariableDefinition, parse_query,
};
use serde_json::{Map, Value, json};

/// How deep a question may nest, fragments included.
const DEPTH_MAX: usize = 16;

type Text<'a> = &'a str;
pub(crate) type Arguments = BTreeMap<String, Value>;

/// A question: what is posted.
#[derive(serde::Deserialize)]
pub(crate) struct Question {
    query: String,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    #[serde(default, rename = "operationName")]
    operation: Option<String>,
}

/// The part of a document that is in force.
struct Asked<'a> {
    variables: Map<String, Value>,
    fragments: BTreeMap<&'a str, FragmentDefinition<'a, Text<'a>>>,
}

/// The answer to a question: each field of its top is given by `resolve`, whole, and cut.
pub(crate) fn execute(question: &Question, resolve: &dyn Fn(&str, &Arguments) -> Result<Value, String>) -> Value {
    match answer(question, resolve) {
        Ok(data) => json!({ "data": data }),
        Err(message) => json!({ "errors": [{ "message": message }] }),
    }
}

fn answer(question: &Question, resolve: &dyn Fn(&str, &Arguments) -> Result<Value, String>) -> Result<Value, String> {
    let document = parse_query::<Text<'_>>(&question.query).map_err(|error| error.to_string())?;
    let (mut operations, mut fragments) = (Vec::new(), BTreeMap::new());
    for definition in document.definitions {
        match definition {
            Definition::Fragment(fragment) => {
                fragments.insert(fragment.name, fragment);
            }
            Definition::Operation(OperationDefinition::SelectionSet(set)) => operations.push((None, Vec::new(), set)),
            Definition::Operation(OperationDefinition::Query(query)) => {
                operations.push((query.name, query.variable_definitions, query.selection_set));
            }
            Definition::Operation(_) => return Err("only queries are answered".into()),
        }
    }
    let wanted = |name: Option<&str>| question.operation.is_none() || name == question.operation.as_deref();
    let operation = operations.into_iter().find(|(name, _, _)| wanted(*name));
    let (_, definitions, set) = operation.ok_or("there is no such operation")?;
    let variables = variables(&definitions, question.variables.as_ref())?;
    let asked = Asked { variables, fragments };
    let mut data = Map::new();
    for field in asked.fields(&set, DEPTH_MAX)? {
        let arguments: Result<Arguments, String> =
            field.arguments.iter().map(|(name, value)| Ok(((*name).to_owned(), asked.value(value)?))).collect();
        let whole = if field.name == "__typename" { json!("Query") } else { resolve(field.name, &arguments?)? };
        data.insert(key(&field), asked.cut(&whole, &field, DEPTH_MAX)?);
    }
    Ok(Value::Object(data))
}

fn variables<'a>(
    definitions: &[VariableDefinition<'a, Text<'a>>],
    given: Option<&Map<String, Value>>,
) -> Result<Map<String, Value>, String> {
    let nothing = Asked { variables: Map::new(), fragments: BTreeMap::new() };
    let mut variables = given.cloned().unwrap_or_default();
    for definition in definitions.iter().filter(|definition| definition.default_value.is_some()) {
        if let (Some(default), false) = (&definition.default_value, variables.contains_key(definition.name)) {
            variables.insert(definition.name.to_owned(), nothing.value(default)?);
        }
    }
    for definition in definitions {
        let required = matches!(definition.var_type, graphql_parser::query::Type::NonNullType(_));
        let name = definition.name;
        if required && variables.get(name).is_none_or(Value::is_null) {
            return Err(format!("the variable ${name} is required"));
        }
        // One that may be absent and is, is null.
        variables.entry(name).or_insert(Value::Null);
    }
    Ok(variables)
}

/// What a field is called in the answer.
fn key<'a>(field: &Field<'a, Text<'a>>) -> String {
    field.alias.unwrap_or(field.name).to_owned()
}

impl<'a> Asked<'a> {
    /// The fields of a selection, fragments put in, skipped ones left out.
    fn fields(&self, set: &SelectionSet<'a, Text<'a>>, depth: usize) -> Result<Vec<Field<'a, Text<'a>>>, String> {
        let deeper = depth.checked_sub(1).ok_or("the question is nested too deep")?;
        let mut fields = Vec::new();
        for selection in &set.items {
            match selection {
                Selection::Field(field) if self.included(&field.directives)? => fields.push(field.clone()),
                Selection::InlineFragment(inline) if self.included(&inline.directives)? => {
                    fields.extend(self.fields(&inline.selection_set, deeper)?);
                }
                Selection::FragmentSpread(spread) if self.included(&spread.directives)? => {
                    let name = spread.fragment_name;
                    let fragment = self.fragments.get(name).ok_or_else(|| format!("there is no fragment {name}"))?;
                    fields.extend(self.fields(&fragment.selection_set, deeper)?);
                }
                _ => {}
            }
        }
        Ok(fields)
    }

    /// What `@skip` and `@include` say.
    fn included(&self, directives: &[Directive<'a, Text<'a>>]) -> Result<bool, String> {
        for directive in directives {
            let condition = directive.arguments.iter().find(|(name, _)| *name == "if");
            let condition = condition.map(|(_, value)| self.value(value)).transpose()?;
            let condition = condition.and_then(|value| value.as_bool());
            let condition = condition.ok_or_else(|| format!("@{} needs a condition", directive.name))?;
            match directive.name {
                "skip" if condition => return Ok(false),
                "include" if !condition => return Ok(false),
                "skip" | "include" => {}
                other => return Err(format!("there is no directive @{other}")),
            }
        }
        Ok(true)
    }

    /// A value with its variables put in.
    fn value(&self, value: &Ast<'a, Text<'a>>) -> Result<Value, String> {
        Ok(match value {
            Ast::Variable(name) => {
                self.variables.get(*name).cloned().ok_or_else(|| format!("the variable ${name} is not declared"))?
            }
            Ast::Int(number) => json!(number.as_i64()),
            Ast::Float(number) => json!(number),
            Ast::String(text) => json!(text),
            Ast::Boolean(truth) => json!(truth),
            Ast::Null => Value::Null,
            Ast::Enum(name) => json!(name),
            Ast::List(values) => Value::Array(values.iter().map(|value| self.value(value)).collect::<Result<_, _>>()?),
            Ast::Object(fields) => {
                let field = |(name, value): (&Text<'a>, _)| Ok(((*name).to_owned(), self.value(value)?));
                Value::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
            }
        })
    }

    /// The part of a value that a field asks for.
    fn cut(&self, whole: &Value, field: &Field<'a, Text<'a>>, depth: usize) -> Result<Value, String> {
        let deeper = depth.checked_sub(1).ok_or("the question is nested too deep")?;
        match whole {
            Value::Array(values) => {
                let cut: Result<Vec<Value>, String> =
                    values.iter().map(|value| self.cut(value, field, depth)).collect();
                cut.map(Value::Array)
            }
            Value::Object(known) => {
                let mut cut = Map::new();
                for part in self.fields(&field.selection_set, deeper)? {
                    let value = match known.get(part.name) {
                        Some(value) => self.cut(value, &part, deeper)?,
                        None if part.name == "__typename" => json!(""),
                        None => return Err(format!("Cannot query field \"{}\" of \"{}\"", part.name, field.name)),
                    };
                    cut.insert(key(&part), value);
                }
                Ok(Value::Object(cut))
            }
            plain => Ok(plain.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(question: Value) -> Value {
        let question = serde_json::from_value(question).unwrap();
        execute(&question, &|name, arguments| match name {
            "echo" => {
                Ok(json!({ "given": format!("{arguments:?}"), "list": [{ "a": 1, "b": 2 }, { "a": 3, "b": 4 }] }))
            }
            _ => Err(format!("Cannot query field \"{name}\"")),
        })
    }

    #[test]
    fn an_answer_has_what_was_asked_for_and_under_the_names_asked_for() {
        let query = "query Q($s: Boolean!, $n: Int = 7) { x: echo(n: $n, l: [A, \"b\"]) { given list { ...F b @skip(if: $s) } } } \
                     fragment F on L { z: a }";
        let answer = ask(json!({ "query": query, "variables": { "s": true }, "operationName": "Q" }));
        assert_eq!(answer["data"]["x"]["list"], json!([{ "z": 1 }, { "z": 3 }]), "{answer}");
        let given = answer["data"]["x"]["given"].as_str().unwrap();
        assert!(given.contains("Number(7)") && given.contains("String(\"A\")"), "{given}");
    }

    #[test]
    fn what_cannot_be_answered_is_an_error_that_names_it() {
        for (query, error) in [
            ("{ echo { list { c } } }", "\"c\""),
            ("{ nothing }", "\"nothing\""),
            ("query($x: ID!) { echo(x: $x) { given } }", "$x is required"),
            ("{ echo(x: $y) { given } }", "$y is not declared"),
            ("{ ...F } fragment F on Q { ...F }", "too deep"),
            ("mutation { a }", "only queries"),
            ("{", "parse error"),
        ] {
            let answer = ask(json!({ "query": query }));
            assert!(answer["errors"][0]["message"].as_str().unwrap().contains(error), "{query}: {answer}");
        }
    }
}
