#include <unordered_map>

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"
#include "modules/http/rewrite_program.h"

// ngx_http_rewrite_module: reading its directives into programs.
namespace weir::http::rewrite {

namespace {

using namespace conf;

// The program under construction: a scope's own, or the body of the `if` that is being read.
class RewriteState final : public CompilerState {
 public:
  Program* if_body = nullptr;
  std::unordered_map<const Statement*, std::shared_ptr<IfStep>> conditions;
};

Program& program_of(Compiler& compiler, Scope& scope) {
  auto& state = compiler.state<RewriteState>();
  if (state.if_body) return *state.if_body;
  auto& own = scope.write_own<OwnProgram>();
  if (!own.program) own.program = std::make_shared<Program>();
  return *own.program;
}

// In the second visit of an `if` body its rewrite directives have been compiled already.
bool compiled_before(Compiler& compiler, const Scope& scope) {
  const bool in_if = scope.context() == kIfInServer || scope.context() == kIfInLocation;
  return in_if && !compiler.state<RewriteState>().if_body;
}

Value uninitialized(VariableSource& source, const Variable& variable) {
  auto& request = static_cast<Request&>(source);
  if (request.settings<RewriteSettings>().warn_uninitialized) {
    request.log(Severity::warn, "using uninitialized " + quoted(variable.name) + " variable");
  }
  return Value::of("");
}

bool read_variable_name(Compiler& compiler, const Statement& statement, const Word& word,
                        std::string_view text, std::string_view& name) {
  if (text.size() < 2 || text[0] != '$') {
    compiler.error(statement, "invalid variable name " + quoted(text),
                   "a variable's name begins with $", &word);
    return false;
  }
  name = text.substr(1);
  return true;
}

void read_set(Compiler& compiler, Scope& scope, const Statement& statement) {
  if (compiled_before(compiler, scope)) return;
  std::string_view name;
  if (!read_variable_name(compiler, statement, statement.words[1], statement.argument(0), name))
    return;
  const Variable* known = compiler.variables().find(name);
  if (known && !known->changeable) {
    compiler.error(statement, "the duplicate " + quoted(name) + " variable", {},
                   &statement.words[1]);
    return;
  }
  if (!known || (!known->get && !known->set)) {
    Variable variable;
    variable.name = name;
    variable.get = uninitialized;
    variable.cacheable = true;
    variable.changeable = true;
    variable.weak = true;
    compiler.variables().define(variable);
  }
  SetStep step{compiler.variables().use(name),
               compiler.make_template(statement, statement.words[2])};
  program_of(compiler, scope).steps.emplace_back(std::move(step));
}

void read_break(Compiler& compiler, Scope& scope, const Statement&) {
  if (!compiled_before(compiler, scope))
    program_of(compiler, scope).steps.emplace_back(BreakStep{});
}

void read_return(Compiler& compiler, Scope& scope, const Statement& statement) {
  if (compiled_before(compiler, scope)) return;
  ReturnStep step{};
  const Word& first = statement.words[1];
  const auto code = parse_number(first.text);
  if (!code) {
    const bool address = first.text.starts_with("http://") || first.text.starts_with("https://") ||
                         first.text.starts_with("$scheme");
    if (statement.argument_count() == 2 || !address) {
      compiler.error(statement, "invalid return code " + quoted(first.text),
                     "a status, a status and a text, or an address that begins with http://, "
                     "https:// or $scheme",
                     &first);
      return;
    }
    step.status = 302;
    step.text = compiler.make_template(statement, first);
  } else {
    if (*code > 999) {
      compiler.error(statement, "invalid return code " + quoted(first.text), {}, &first);
      return;
    }
    step.status = static_cast<int>(*code);
    if (statement.argument_count() == 2)
      step.text = compiler.make_template(statement, statement.words[2]);
  }
  program_of(compiler, scope).steps.emplace_back(std::move(step));
}

bool read_flag_word(Compiler& compiler, const Statement& statement, RewriteStep& step) {
  if (statement.argument_count() < 3) return true;
  const Word& word = statement.words[3];
  const bool address = step.after == RewriteStep::After::redirect;  // one is never looked up here
  if (word.text == "last") {
    if (!address) step.after = RewriteStep::After::last;
  } else if (word.text == "break") {
    if (!address) step.after = RewriteStep::After::break_;
  } else if (word.text == "redirect" || word.text == "permanent") {
    step.after = RewriteStep::After::redirect;
    step.redirect_status = word.text == "permanent" ? 301 : 302;
  } else {
    compiler.invalid_parameter(statement, word, "flags are last, break, redirect and permanent");
    return false;
  }
  return true;
}

void read_rewrite(Compiler& compiler, Scope& scope, const Statement& statement) {
  if (compiled_before(compiler, scope)) return;
  RewriteStep step;
  if (statement.argument(1).empty()) {
    compiler.error(statement, "empty replacement");
    return;
  }
  step.pattern = make_pattern(compiler, statement, statement.argument(0), false);
  if (!step.pattern) return;
  std::string_view replacement = statement.argument(1);
  if (replacement.starts_with("http://") || replacement.starts_with("https://") ||
      replacement.starts_with("$scheme")) {
    step.after = RewriteStep::After::redirect;
    step.redirect_status = 302;
  }
  if (!read_flag_word(compiler, statement, step)) return;
  if (replacement.ends_with('?')) {
    replacement.remove_suffix(1);
    step.add_old_args = false;
  }
  const Word& word = statement.words[2];
  if (const size_t mark = replacement.find('?'); mark != std::string_view::npos) {
    step.has_args = true;
    step.uri = compiler.make_template(statement, word, replacement.substr(0, mark));
    step.args = compiler.make_template(statement, word, replacement.substr(mark + 1));
  } else {
    step.uri = compiler.make_template(statement, word, replacement);
  }
  program_of(compiler, scope).steps.emplace_back(std::move(step));
}

// The words of a condition without the parentheses, which may stand alone or stick to a word.
bool strip_parentheses(Compiler& compiler, const Statement& statement,
                       std::vector<std::string_view>& words, size_t& first) {
  for (size_t i = 1; i < statement.words.size(); ++i) words.push_back(statement.words[i].text);
  const auto invalid = [&](const Word& word) {
    compiler.error(statement, "invalid condition " + quoted(word.text),
                   "a condition is written in parentheses: if ($variable = value) { … }", &word);
    return false;
  };
  if (words.front().empty() || words.front()[0] != '(') return invalid(statement.words[1]);
  first = 1;
  // Here nginx names what is left of the last word.
  const auto not_closed = [&] {
    const std::string_view left = words.empty() ? statement.words.back().text : words.back();
    compiler.error(statement, "invalid condition " + quoted(left),
                   "a condition is written in parentheses: if ($variable = value) { … }",
                   &statement.words.back());
    return false;
  };
  if (words.front().size() == 1) {
    words.erase(words.begin());
    first = 2;
  } else {
    words.front().remove_prefix(1);
  }
  if (words.empty() || words.back().empty() || words.back().back() != ')') return not_closed();
  if (words.size() == 1 && words.back().size() == 1) return not_closed();
  if (words.back().size() == 1) {
    words.pop_back();
  } else {
    words.back().remove_suffix(1);
  }
  if (words.empty()) return invalid(statement.words[1]);
  return true;
}

bool read_file_test(Compiler& compiler, const Statement& statement,
                    const std::vector<std::string_view>& words, size_t first,
                    Condition& condition) {
  using Test = Condition::Test;
  static const std::unordered_map<std::string_view, Test> kTests{
      {"-f", Test::file},       {"!-f", Test::no_file},        {"-d", Test::folder},
      {"!-d", Test::no_folder}, {"-e", Test::exists},          {"!-e", Test::exists_not},
      {"-x", Test::executable}, {"!-x", Test::not_executable},
  };
  const auto test = kTests.find(words[0]);
  if (test == kTests.end() || words.size() != 2) {
    compiler.error(statement, "invalid condition " + quoted(words[0]),
                   "file tests are -f, -d, -e and -x, each with one path; ! in front negates",
                   &statement.words[first]);
    return false;
  }
  condition.test = test->second;
  condition.operand = compiler.make_template(statement, statement.words[first + 1], words[1]);
  return true;
}

bool read_comparison(Compiler& compiler, const Statement& statement,
                     const std::vector<std::string_view>& words, size_t first,
                     Condition& condition) {
  using Test = Condition::Test;
  std::string_view name;
  if (words[0].size() < 2 || words.size() == 2 || words.size() > 3) {
    compiler.error(
        statement, "invalid condition " + quoted(words[0]),
        std::find(words.begin(), words.end(), "&&") != words.end() ||
                std::find(words.begin(), words.end(), "||") != words.end()
            ? "conditions cannot be joined by \"&&\" or \"||\": use a map of both values "
              "(map \"$a:$b\" $both { ... })"
            : "a variable alone, or a variable, a comparison and one value; quote a value "
              "that holds spaces",
        &statement.words[first]);
    return false;
  }
  if (!read_variable_name(compiler, statement, statement.words[first], words[0], name))
    return false;
  condition.variable = compiler.variables().use(name);
  if (words.size() == 1) return true;
  const Word& operation_word = statement.words[first + 1];
  const std::string_view operation = words[1];
  const std::string_view bare = operation.starts_with("!") ? operation.substr(1) : operation;
  const bool negated = bare.size() != operation.size();
  if (bare == "=") {
    condition.test = negated ? Test::not_equal : Test::equal;
    condition.operand = compiler.make_template(statement, statement.words[first + 2], words[2]);
    return true;
  }
  if (bare == "~" || bare == "~*") {
    condition.test = negated ? Test::matches_not : Test::matches;
    condition.pattern = make_pattern(compiler, statement, words[2], bare == "~*");
    return condition.pattern != nullptr;
  }
  compiler.error(statement, "unexpected " + quoted(operation) + " in condition",
                 "comparisons are =, !=, ~, ~*, !~ and !~*", &operation_word);
  return false;
}

// First visit, in reading order: the condition, and the rewrite directives of the body.
void read_if(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto step = std::make_shared<IfStep>();
  std::vector<std::string_view> words;
  size_t first = 1;
  if (!strip_parentheses(compiler, statement, words, first)) return;
  const bool file_test = words[0].starts_with("-") || words[0].starts_with("!-");
  if (words[0].empty() || (words[0][0] != '$' && !file_test)) {
    compiler.error(statement, "invalid condition " + quoted(words[0]),
                   "a condition begins with a variable or a file test", &statement.words[first]);
    return;
  }
  const bool valid = file_test
                         ? read_file_test(compiler, statement, words, first, step->condition)
                         : read_comparison(compiler, statement, words, first, step->condition);
  if (!valid) return;
  step->body = std::make_shared<Program>();
  auto& state = compiler.state<RewriteState>();
  state.conditions[&statement] = step;
  program_of(compiler, scope).steps.emplace_back(step);
  Program* const outer = state.if_body;
  state.if_body = step->body.get();
  const Context inside = scope.context() == kServer ? kIfInServer : kIfInLocation;
  for (const Statement& inner : statement.block->statements) {
    if (const Directive* directive = compiler.find_directive(inner, inside)) {
      if (directive->set == read_set || directive->set == read_break ||
          directive->set == read_return || directive->set == read_rewrite) {
        directive->set(compiler, scope, inner);
      }
    }
  }
  state.if_body = outer;
}

// Second visit: the other settings of the body.
void visit_if(Compiler& compiler, Scope& outer, const Statement& statement) {
  auto& state = compiler.state<RewriteState>();
  Builder& build = builder(compiler);
  const Context inside = outer.context() == kServer ? kIfInServer : kIfInLocation;
  auto scope = std::make_shared<Scope>(inside, &outer);
  PhaseHandler unused = nullptr;
  const auto found = state.conditions.find(&statement);
  PhaseHandler* const outer_handler = build.content_handler;
  build.content_handler =
      found != state.conditions.end() ? &found->second->content_handler : &unused;
  compiler.visit(*statement.block, *scope);
  build.content_handler = outer_handler;
  if (found != state.conditions.end()) found->second->scope = std::move(scope);
}

constexpr uint32_t kPlaces = kServer | kLocation | kIfInServer | kIfInLocation;

constexpr Directive kDirectives[] = {
    {.name = "rewrite",
     .where = kPlaces,
     .args = {2, 3},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set = read_rewrite,
     .doc = "Replaces a URI that matches, or redirects."},
    {.name = "return",
     .where = kPlaces,
     .args = {1, 2},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set = read_return,
     .doc = "Ends with a status, a text or a redirect."},
    {.name = "break",
     .where = kPlaces,
     .args = {0, 0},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set = read_break,
     .doc = "Ends the rewrite directives of this level."},
    {.name = "if",
     .where = kServer | kLocation,
     .args = {1, kNoLimit},
     .form = Form::block,
     .repeat = Repeat::collect,
     .deferred = true,
     .merge = Merge::own,
     .set = visit_if,
     .read = read_if,
     .doc = "Directives for requests that fulfil a condition."},
    {.name = "set",
     .where = kPlaces,
     .args = {2, 2},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set = read_set,
     .doc = "Gives a variable a value."},
    {.name = "rewrite_log",
     .where = kHttp | kPlaces,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&RewriteSettings::log>,
     .doc = "Logs what rewrite does, at notice level."},
    {.name = "uninitialized_variable_warn",
     .where = kHttp | kPlaces,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = into<&RewriteSettings::warn_uninitialized>,
     .doc = "Warns of variables that are read before they are set."},
};

void complete(Compiler& compiler, Scope&) {
  if (!compiler.uses(kDirectives)) return;
  builder(compiler).add_phase_handler(Phase::server_rewrite, run);
  builder(compiler).add_phase_handler(Phase::rewrite, run_in_location);
}

}  // namespace

}  // namespace weir::http::rewrite

namespace weir::http {

const conf::Module kRewriteModule{
    .name = "ngx_http_rewrite_module",
    .directives = rewrite::kDirectives,
    .complete = rewrite::complete,
};

}  // namespace weir::http
