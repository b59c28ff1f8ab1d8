//! Broken stacks: what is told, where, and with which advice.

use std::collections::BTreeMap;

use cofferdam::kinds::Registry;
use cofferdam::stack::{Files, Language, Options, parse};
use proptest::prelude::*;

use super::{HEAD, read, read_with, shown};
use crate::support::generated;

/// A test for each broken stack: everything that a user is shown is in its snapshot.
macro_rules! told {
    ($($name:ident: $text:expr;)+) => {$(
        #[test]
        fn $name() {
            let told = read(&format!("{HEAD}{}", $text)).expect_err("the stack is broken");
            insta::assert_snapshot!(shown(&told));
        }
    )+};
}

const VPC: &str = "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n";

/// A listener.
const LISTENER: &str = "[listener.web]\nload_balancer = \"arn:aws:elasticloadbalancing:eu-west-2:123456789012:\
    loadbalancer/app/web/0123456789abcdef\"\nprotocol = \"http\"\nport = 80\n\
    action = { respond = { status = 404 } }\n\n";

/// Two rules of one listener with these conditions.
fn rules(first: &str, second: &str) -> String {
    let rule = |name: &str, priority: u32, condition: &str| {
        format!(
            "[listener_rule.{name}]\nlistener = \"web\"\npriority = {priority}\n{condition}\n\
             action = {{ respond = {{ status = 404 }} }}\n\n"
        )
    };
    format!("{LISTENER}{}{}", rule("late", 20, second), rule("early", 10, first))
}

fn with_vpc(rest: &str) -> String {
    format!("{VPC}{rest}")
}

/// Variables of which each is made from the next one.
fn chain(length: usize, value: impl Fn(usize) -> String) -> String {
    let links = (0..length).map(|i| format!("v{i} = \"{}\"\n", value(i + 1)));
    format!("[vars]\n{}v{length} = 1\n", links.collect::<String>())
}

told! {
    moved_to_another_kind: with_vpc("[[moved]]\nfrom = \"subnet.a\"\nto = \"vpc.main\"\n");
    moved_to_what_is_not_there: with_vpc("[[moved]]\nfrom = \"vpc.old\"\nto = \"vpc.mian\"\n");
    moved_in_the_wrong_order: with_vpc(
        "[[moved]]\nfrom = \"vpc.b\"\nto = \"vpc.main\"\n\n[[moved]]\nfrom = \"vpc.a\"\nto = \"vpc.b\"\n"
    );
    moved_twice: with_vpc(
        "[[moved]]\nfrom = \"vpc.a\"\nto = \"vpc.main\"\n\n[[moved]]\nfrom = \"vpc.b\"\nto = \"vpc.main\"\n"
    );
    one_record_twice: "[dns_record.a]\nzone = \"Z0123456789\"\nname = \"www\"\ntype = \"A\"\nvalues = [\"10.0.0.1\"]\n\n\
         [dns_record.b]\nzone = \"Z0123456789\"\nname = \"www\"\ntype = \"A\"\nvalues = [\"10.0.0.2\"]\n";
    groups_that_need_each_other: with_vpc(
        "[security_group.web]\nvpc = \"main\"\negress = [{ to = [\"db\"], protocol = \"tcp\", ports = \"5432\" }]\n\n\
         [security_group.db]\nvpc = \"main\"\ningress = [{ from = [\"web\"], protocol = \"tcp\", ports = \"5432\" }]\n"
    );
    name_of_what_exists: "[instance_profile.x]\nrole = \"ecsInstanceRole\"\n";
    file_outside_of_the_project: "[paper.x]\ndocument = \"../../secrets.json\"\n";
    typo_in_a_key: "[vpc.main]\ncdir = \"10.0.0.0/16\"\n";
    key_of_another_tool: "[vpc.main]\ncidr_block = \"10.0.0.0/16\"\nenable_dns_hostnames = true\n";
    typo_in_a_kind: with_vpc("[subent.a]\nvpc = \"main\"\n\n[paper.x]\nsubnets = [\"a\"]\n");
    typo_at_the_top: with_vpc("[tagz]\nTeam = \"a\"\n");
    typo_in_a_bare_name: with_vpc("[subnet.a]\nvpc = \"mian\"\ncidr = \"10.0.0.0/24\"\nzone = \"a\"\n");
    typo_in_a_reference: with_vpc("[outputs]\nid = \"the id is ${vpc.mian.id}\"\n");
    typo_in_an_attribute_of_a_reference: with_vpc("[outputs]\nid = \"${vpc.main.cird}\"\n");
    reference_without_a_kind: with_vpc("[outputs]\nid = \"${vcp.main.id}\"\nother = \"${HOME}\"\n");
    wrong_type: "[vpc.main]\ncidr = 10\ndns_support = \"true\"\n\n[vpc.other]\ncidr = [\"10.0.0.0/16\"]\n";
    nested_wrong_type: with_vpc("[paper.x]\n\
         rules = [{ to = 1, through = \"main\" }, { to = \"a\", trough = \"main\" }]\n");
    number_out_of_range: "[paper.x]\ncopies = 300\n";
    missing_required_key: with_vpc("[subnet.a]\nvpc = \"main\"\n");
    bad_enum: "[vpc.main]\ncidr = \"10.0.0.0/16\"\ntenancy = \"dedicatd\"\n";
    host_bits: "[vpc.main]\ncidr = \"10.0.0.1/16\"\n";
    cycle: "[vpc.main]\ncidr = \"${subnet.a.cidr}\"\n\n[subnet.a]\nvpc = \"main\"\ncidr = \"10.0.0.0/24\"\n\
         zone = \"a\"\n";
    cycle_through_depends_on: "[vpc.main]\ncidr = \"10.0.0.0/16\"\ndepends_on = [\"vpc.main\"]\n";
    overlap: with_vpc(
        "[subnet.a]\nvpc = \"main\"\ncidr = \"10.0.0.0/20\"\nzone = \"a\"\n\n\
         [subnet.b]\nvpc = \"main\"\ncidr = \"10.0.8.0/24\"\nzone = \"b\"\n"
    );
    outside_the_vpc: with_vpc("[subnet.a]\nvpc = \"main\"\ncidr = \"10.1.0.0/24\"\nzone = \"a\"\n");
    missing_file: "[paper.x]\ndocument = \"policies/gone.json\"\n";
    bad_policy_json: "[paper.x]\ndocuments = [\"policies/bad.json\"]\n";
    reference_in_a_file: with_vpc("[paper.x]\ndocument = \"policies/lost.json\"\n");
    neither_document_nor_file: "[paper.x]\ndocument = \"policies/good\"\n";
    unknown_zone: with_vpc("[subnet.a]\nvpc = \"main\"\ncidr = \"10.0.0.0/24\"\nzone = \"z\"\n");
    undeclared_variable: "[vars]\nrange = \"10.0.0.0/16\"\n\n[vpc.main]\ncidr = \"${vars.rnage}\"\n";
    variable_without_a_value: "[vars]\nrange = { description = \"the range\" }\n\n[vpc.main]\n\
         cidr = \"${vars.range}\"\n";
    variables_in_a_circle: "[vars]\na = \"${vars.b}\"\nb = \"${vars.a}\"\n";
    variables_too_deep: chain(100, |next| format!("${{vars.v{next}}}"));
    variables_too_large: chain(25, |next| format!("${{vars.v{next}}}${{vars.v{next}}}"));
    list_inside_a_text: "[vars]\nmany = [\"a\"]\n\n[outputs]\nx = \"all: ${vars.many}\"\n";
    unclosed_reference: with_vpc("[outputs]\nid = \"${vpc.main.id\"\n");
    toml_syntax: "[vpc.main\ncidr = 10.0.0.0/16\n";
    duplicate_table: "[vpc.main]\ncidr = \"10.0.0.0/16\"\n\n[vpc.main]\ncidr = \"10.1.0.0/16\"\n";
    bad_depends_on: with_vpc("[vpc.b]\ncidr = \"10.0.0.0/16\"\ndepends_on = [\"main\", \"vpc.man\"]\n\
         protect = \"yes\"\n");
    block_without_a_name: "[vpc]\ncidr = \"10.0.0.0/16\"\n";
    two_errors_at_once: "[vpc.main]\ncidr = \"10.0.0.1/16\"\n\n[subnet.a]\nvpc = \"mian\"\ncidr = \"10.0.0.0/24\"\n\
         zone = \"q\"\n";
    reserved_tag: with_vpc("[tags]\n\"aws:x\" = \"1\"\n");
    same_name_twice: "[paper.x]\nname = \"one\"\n\n[paper.y]\nname = \"one\"\n";
    construct_with_a_problem: "[net.main]\ncidr = \"none\"\nzones = { a = \"10.0.0.0/24\" }\n\n[outputs]\n\
         x = \"${net.main.vpc_id}\"\n\n\
        [subnet.b]\nvpc = \"main\"\ncidr = \"10.0.0.0/24\"\nzone = \"a\"\n";
    inside_a_construct: "[net.main]\ncidr = \"10.0.0.0/16\"\nzones = { a = \"10.0.0.0/24\", y = \"10.9.0.0/24\" }\n\n\
        [outputs]\nx = \"${net.main.subnet_id}\"\n";
    other_environment_is_checked: with_vpc("[env.prod.vpc.main]\ncidr_bloc = \"10.1.0.0/16\"\n\n[env.prod.vcp.x]\n");
    variable_of_an_environment_is_not_declared: with_vpc("[vars]\nrange = \"10.0.0.0/16\"\n\n[env.prod.vars]\n\
        rnage = \"10.1.0.0/16\"\n\n[env.dev]\nvars = { something = { secret = true } }\n");
    variable_of_an_environment_and_none_declared: with_vpc("[env.prod.vars]\nrange = \"10.1.0.0/16\"\n");
    rule_behind_another_one: rules(
        "hosts = [\"a.example.com\", \"B.example.com\"]", "hosts = [\"b.example.com\", \"a.example.com\"]"
    );
    rules_at_one_place: format!("{LISTENER}{}", ["a", "b"].map(|path| format!(
        "[listener_rule.{path}]\nlistener = \"web\"\npriority = 10\npaths = [\"/{path}\"]\n\
         action = {{ respond = {{ status = 404 }} }}\n\n"
    )).concat());
    other_stack_is_missing: "[outputs]\nx = \"${stack.network.vpc_id}\"\ny = \"${stack.network.zone_id}\"\n";
}

#[test]
fn name_and_region() {
    let told = read(
        "name = \"Web Shop\"\nregion = \"eu-wst-2\"\n\n[subnet.a]\nvpc = \"vpc-0123456789abcdef0\"\n\
         cidr = \"10.0.0.0/24\"\nzone = \"a\"\n",
    );
    insta::assert_snapshot!(shown(&told.expect_err("broken")));
}

#[test]
fn nothing_at_all() {
    insta::assert_snapshot!(shown(&read("").expect_err("a stack needs a name")));
}

#[test]
fn unknown_environment_and_variables() {
    let options = Options {
        env: Some("prd".into()),
        vars: BTreeMap::from([("rang".into(), "1".into()), ("count".into(), "many".into())]),
        ..Options::default()
    };
    let text = format!("{HEAD}[vars]\nrange = \"10.0.0.0/16\"\ncount = 1\n\n[env.prod]\n");
    let told = read_with(&text, &options).expect_err("broken");
    let options = Options { env: None, ..options };
    let more = read_with(&text, &options).expect_err("broken");
    insta::assert_snapshot!(format!("{}\n{}", shown(&told), shown(&more)));
}

#[test]
fn nothing_to_remove() {
    let options = Options { env: Some("dev".into()), ..Options::default() };
    let text = format!("{HEAD}{VPC}[env.dev]\nremove = [\"vpc.man\", \"vpc.main.cidr\"]\n");
    insta::assert_snapshot!(shown(&read_with(&text, &options).expect_err("broken")));
}

#[test]
fn one_line_each_for_logs() {
    let told = read(&format!("{HEAD}[vpc.main]\ncdir = \"10.0.0.0/16\"\n")).expect_err("broken");
    insta::assert_snapshot!(told.to_string());
}

/// Pieces of stacks, to be mixed.
const PIECES: [&str; 38] = [
    "[vpc.main]\n",
    "[subnet.a]\n",
    "[[subnet.a]]\n",
    "[net.x]\n",
    "[env.dev.vpc.main]\n",
    "[vars]\n",
    "[outputs]\n",
    "[tags]\n",
    "[[moved]]\n",
    "[state]\n",
    "[paper.p]\n",
    "[paper.p.documents]\n",
    "name = \"web\"\n",
    "name = 3\n",
    "region = \"eu-west-2\"\n",
    "cidr = \"10.0.0.0/16\"\n",
    "cidr = \"${subnet.a.cidr}\"\n",
    "cidr = \"10.0.0.0/0\"\n",
    "vpc = \"main\"\n",
    "vpc = [\"main\"]\n",
    "zone = \"a\"\n",
    "zone = \"é\"\n",
    "zones = { a = \"10.0.0.0/24\" }\n",
    "depends_on = [\"vpc.main\"]\n",
    "depends_on = [\"subnet.a\", 1]\n",
    "existing = \"vpc-1\"\n",
    "protect = true\n",
    "x = \"${vars.x}\"\n",
    "y = \"${vars.x} ${\"\n",
    "document = \"policies/lost.json\"\n",
    "document = { a = [1, 2.5, 1979-05-27] }\n",
    "documents = [\"policies/bad.json\", \"boot.sh\"]\n",
    "script = \"boot.sh\"\n",
    "rules = [{ to = \"a\" }]\n",
    "remove = [\"vpc.main.cidr\", \"\"]\n",
    "from = \"a.b\"\n",
    "= \"\"\"\n",
    "key = \"\\u00e9\u{1F980}\"\n",
];

proptest! {
    #![proptest_config(generated(400))]

    #[test]
    fn mixed_pieces_never_panic(pieces in prop::collection::vec(0..PIECES.len(), 0..24), env in any::<bool>()) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        let options = Options { env: env.then(|| "dev".to_owned()), ..Options::default() };
        if let Err(told) = read_with(&text, &options) {
            prop_assert!(!told.is_empty());
            shown(&told);
        }
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}") {
        if let Err(told) = read(&text) {
            shown(&told);
        }
    }

    #[test]
    fn mutated_stacks_never_panic(at in 0..400_usize, insert in "[\\[\\]{}=\"$.\n a0é]{0,4}", cut in 0..6_usize) {
        let mut text: String = format!("{HEAD}{VPC}[vars]\nx = [\"10.0.1.0/24\", 2]\n\n[subnet.a]\nvpc = \"main\"\n\
            cidr = \"10.0.0.0/24\"\nzone = \"a\"\n\n[net.n]\ncidr = \"10.2.0.0/16\"\n\
         zones = {{ a = \"10.2.0.0/24\" }}\n\n\
            [paper.p]\ndocuments = [\"policies/good.json\"]\nsubnets = [\"a\", \"${{net.n.subnet_ids}}\"]\n\n\
            [outputs]\no = \"${{vars.x}}\"\n");
        let at = at.min(text.len());
        text.replace_range(at..(at + cut).min(text.len()), &insert);
        if let Err(told) = read(&text) {
            prop_assert!(!told.is_empty());
            shown(&told);
        }
    }

    #[test]
    fn mutated_shipped_stacks_never_panic(
        at in 0..4000_usize,
        insert in "[\\[\\]{}=\"$.\n a0é/:]{0,4}",
        cut in 0..9_usize,
    ) {
        let text = include_str!("../../../stacks/ecs-poc.toml");
        let near = |at: usize| text.ceil_char_boundary(at.min(text.len()));
        let text = format!("{}{insert}{}", &text[..near(at)], &text[near(at + cut)..]);
        let (registry, constructs) = (Registry::new(), cofferdam::constructs::all());
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |name: &str| std::fs::read(root.join(name));
        let files = Files { read: &read, root: "the project".into() };
        let options = Options { env: Some("staging".into()), ..Options::default() };
        if let Err(told) = parse("ecs-poc.toml", &text, &files, &options, &Language::of(&registry, &constructs)) {
            prop_assert!(!told.is_empty());
            shown(&told);
        }
    }

    #[test]
    fn any_attribute_value_never_panics(
        value in "(\"\\PC{0,20}\"|[0-9]{1,20}|\\$\\{[a-z.]{0,8}\\}?|\\[[0-9,\"a-z$\\{\\}]{0,12}\\])",
    ) {
        for (kind, key) in [
            ("vpc", "cidr"), ("subnet", "zone"), ("subnet", "vpc"), ("paper", "documents"), ("vpc", "tags"),
            ("paper", "script"), ("paper", "rules"), ("vpc", "existing"), ("vpc", "depends_on"),
        ] {
            if let Err(told) = read(&format!("{HEAD}[{kind}.x]\n{key} = {value}\n")) {
                shown(&told);
            }
        }
    }
}
