#include "confparse/compiler.h"

#include <algorithm>

#include "confparse/value.h"

namespace weir::conf {

namespace {

// Diagnostics beyond this many are dropped: nobody reads them, and a file of one-letter lines would
// cost gigabytes.
constexpr size_t kMostDiagnostics = 1000;

Context root_of(Context context) {
  constexpr uint32_t kInHttp =
      kHttp | kServer | kLocation | kUpstream | kIfInServer | kIfInLocation | kLimitExcept;
  constexpr uint32_t kInStream = kStream | kStreamServer | kStreamUpstream;
  if (context & kInHttp) return kHttp;
  if (context & kInStream) return kStream;
  return kMain;
}

// Settings of upstream and events blocks are not merged.
bool is_finished_by_modules(Context context) {
  return !(context & (kUpstream | kStreamUpstream | kEvents));
}

bool is_root(Context context) {
  return context == root_of(context);
}

}  // namespace

Compiler::Compiler(World& world, Sources& sources, std::span<const Module* const> modules,
                   std::string prefix, std::string conf_prefix)
    : world_(world),
      sources_(sources),
      modules_(modules),
      prefix_(std::move(prefix)),
      conf_prefix_(std::move(conf_prefix)) {
  build_index();
}

Compiler::~Compiler() = default;

void Compiler::build_index() {
  for (const Module* module : modules_) {
    for (const Directive& directive : module->directives)
      index_.emplace(directive.name, &directive);
  }
}

bool Compiler::compile(const Tree& tree, Scope& root) {
  for (const Diagnostic& problem : tree.problems) add(problem);
  // Without its main file there is no configuration to judge.
  if (tree.file != 0) {
    root_block_ = &tree.root;
    begin_root(root, kMain);
    visit(tree.root, root);
    complete_root(root, kMain, tree.root);
  }
  sort_diagnostics();
  return !failed();
}

void Compiler::sort_diagnostics() {
  std::stable_sort(diagnostics_.begin(), diagnostics_.end(),
                   [](const Diagnostic& a, const Diagnostic& b) {
                     return std::pair(a.number, a.stage) < std::pair(b.number, b.stage);
                   });
}

bool Compiler::failed() const {
  return std::any_of(diagnostics_.begin(), diagnostics_.end(), [](const Diagnostic& diagnostic) {
    return diagnostic.severity <= Severity::crit;
  });
}

// --- the two visits

void Compiler::begin_root(Scope& root, Context context) {
  for (const Module* module : modules_) {
    if (module->root != static_cast<uint32_t>(context)) continue;
    if (module->prepare) module->prepare(*this, root);
    for (const Directive& directive : module->directives) {
      if (!directive.initial.empty()) run_initial(root, directive);
    }
  }
  // A default is not a use.
  root.used_.clear();
}

void Compiler::run_initial(Scope& root, const Directive& directive) {
  std::string text(directive.name);
  text += ' ';
  text += directive.initial;
  text += ';';
  const FileId file = sources_.add("the default of \"" + std::string(directive.name) + "\"",
                                   std::move(text), {}, Sources::Kind::built_in);
  const Tree& tree = initial_trees_.emplace_back(parse_source(world_, sources_, file, {}));
  for (const Statement& statement : tree.root.statements) {
    Statement early = statement;
    early.number = 0;
    call(directive.set, directive, early, root);
  }
}

void Compiler::visit(const Block& block, Scope& scope) {
  const Block* const outer_root = root_block_;
  if (is_root(scope.context())) root_block_ = &block;
  Deferred deferred;
  for (const Statement& statement : block.statements) visit_statement(statement, scope, deferred);
  run_finish(scope);
  for (const auto& [statement, directive] : deferred) {
    call(directive->set, *directive, *statement, scope);
  }
  root_block_ = outer_root;
}

void Compiler::visit_statement(const Statement& statement, Scope& scope, Deferred& deferred) {
  if (statement.name() == "include") {
    check_include(statement);
    return;
  }
  const Directive* directive = check(statement, scope);
  if (!directive) return;
  const bool again = scope.used(*directive);
  if (again && directive->repeat == Repeat::error) {
    duplicate(statement);
    return;
  }
  if (directive->deferred) {
    deferred.emplace_back(&statement, directive);
    if (directive->read) call(directive->read, *directive, statement, scope);
  } else {
    call(directive->set, *directive, statement, scope);
  }
  // After the setter, so that its first_use() is true the first time.
  if (again) return;
  scope.first_use(*directive);
  used_.insert(directive);
}

bool Compiler::used(const Scope& scope, std::string_view name) const {
  const auto [begin, end] = index_.equal_range(name);
  return std::any_of(begin, end, [&](const auto& row) { return scope.used(*row.second); });
}

void Compiler::call(SetFunction function, const Directive& directive, const Statement& statement,
                    Scope& scope) {
  if (!function) return;
  const Directive* const outer = directive_;
  const Hook outer_hook = hook_;
  directive_ = &directive;
  hook_ = {};
  function(*this, scope, statement);
  directive_ = outer;
  hook_ = outer_hook;
}

bool Compiler::uses(std::span<const Directive> directives) const {
  return std::any_of(directives.begin(), directives.end(),
                     [this](const Directive& directive) { return used_.contains(&directive); });
}

void Compiler::run_finish(Scope& scope) {
  if (!is_finished_by_modules(scope.context())) return;
  const Context root = root_of(scope.context());
  const Scope* parent = is_root(scope.context()) ? nullptr : scope.parent();
  const Hook outer = hook_;
  for (size_t i = 0; i < modules_.size(); ++i) {
    const Module& module = *modules_[i];
    if (!module.finish || module.root != static_cast<uint32_t>(root)) continue;
    hook_ = {true, root_block_->end_number, kFinishStage + static_cast<uint32_t>(i)};
    module.finish(*this, scope, parent);
  }
  hook_ = outer;
}

void Compiler::complete_root(Scope& root, Context context, const Block& block) {
  const Block* const outer_root = root_block_;
  const Hook outer = hook_;
  root_block_ = &block;
  for (size_t i = 0; i < modules_.size(); ++i) {
    const Module& module = *modules_[i];
    if (!module.complete || module.root != static_cast<uint32_t>(context)) continue;
    hook_ = {true, block.end_number, kCompleteStage + static_cast<uint32_t>(i)};
    module.complete(*this, root);
  }
  hook_ = outer;
  root_block_ = outer_root;
}

// --- checks

const Directive* Compiler::check(const Statement& statement, const Scope& scope) {
  const auto [begin, end] = index_.equal_range(statement.name());
  if (begin == end) {
    error(statement, "unknown directive " + quoted(until_nul(statement.name())),
          help_unknown(statement, scope));
    return nullptr;
  }
  for (auto row = begin; row != end; ++row) {
    const Directive& directive = *row->second;
    if (directive.where & scope.context()) {
      return check_form(statement, directive) ? &directive : nullptr;
    }
  }
  error(statement, quoted(until_nul(statement.name())) + " directive is not allowed here",
        help_misplaced(statement));
  return nullptr;
}

bool Compiler::check_form(const Statement& statement, const Directive& directive) {
  const std::string name = quoted(until_nul(statement.name()));
  if (directive.form != Form::block && statement.block) {
    error(statement, "directive " + name + " is not terminated by \";\"",
          "it takes no block: put a \";\" after its last word");
    return false;
  }
  if (directive.form == Form::block && !statement.block) {
    error(statement, "directive " + name + " has no opening \"{\"");
    return false;
  }
  const Arity arity = directive.form == Form::flag ? Arity{1, 1} : directive.args;
  const size_t count = statement.argument_count();
  if (count >= arity.min && (count <= arity.max || arity.max == kNoLimit)) return true;
  std::string help = "it takes " + std::to_string(arity.min);
  if (arity.max == kNoLimit) {
    help += " or more";
  } else if (arity.max != arity.min) {
    help += " to " + std::to_string(arity.max);
  }
  help += arity.max == 1 ? " word" : " words";
  help += ", here are " + std::to_string(count);
  // A missing ";" makes the next statement's words look like arguments: show where they begin.
  const Word* caret = nullptr;
  if (count > arity.max) {
    caret = &statement.words[arity.max + 1u];
    const Position first =
        sources_.locate(statement.words[arity.max].span.file, statement.words[arity.max].span.end);
    if (sources_.locate(caret->span.file, caret->span.begin).line != first.line) {
      help += "; is a \";\" missing at the end of line " + std::to_string(first.line) + "?";
    }
  }
  error(statement, "invalid number of arguments in " + name + " directive", std::move(help), caret);
  return false;
}

void Compiler::check_include(const Statement& statement) {
  if (statement.included) return;
  if (statement.block) {
    error(statement, "directive \"include\" is not terminated by \";\"");
  } else if (statement.argument_count() != 1) {
    error(statement, "invalid number of arguments in \"include\" directive",
          "one file name or pattern for each include");
  }
}

// --- reports

void Compiler::add(Diagnostic diagnostic) {
  if (diagnostics_.size() < kMostDiagnostics) diagnostics_.push_back(std::move(diagnostic));
}

void Compiler::report(Severity severity, const Statement& at, std::string text, std::string help,
                      const Word* word) {
  Diagnostic diagnostic;
  diagnostic.severity = severity;
  diagnostic.text = std::move(text);
  diagnostic.placed = true;
  diagnostic.nginx_place = at.terminator;
  diagnostic.span = (word ? *word : at.words[0]).span;
  diagnostic.help = std::move(help);
  diagnostic.number = hook_.active ? hook_.number : at.number;
  diagnostic.stage = hook_.active ? hook_.stage : 0;
  add(std::move(diagnostic));
}

void Compiler::error(const Statement& at, std::string text, std::string help, const Word* word) {
  report(Severity::emerg, at, std::move(text), std::move(help), word);
}

void Compiler::warn(const Statement& at, std::string text, std::string help, const Word* word) {
  report(Severity::warn, at, std::move(text), std::move(help), word);
}

void Compiler::duplicate(const Statement& at) {
  error(at, quoted(until_nul(at.name())) + " directive is duplicate",
        "it may stand only once in a block");
}

void Compiler::invalid_value(const Statement& at, const Word& word, std::string help) {
  error(at, "invalid value " + quoted(until_nul(word.text)), std::move(help), &word);
}

void Compiler::invalid_parameter(const Statement& at, const Word& word, std::string help) {
  error(at, "invalid parameter " + quoted(until_nul(word.text)), std::move(help), &word);
}

void Compiler::late_error(uint32_t number, uint32_t stage, std::string text, const Statement* at,
                          std::string help, Severity severity) {
  Diagnostic diagnostic;
  diagnostic.severity = severity;
  diagnostic.text = std::move(text);
  if (at) {
    diagnostic.placed = true;
    diagnostic.nginx_place = at->terminator;
    diagnostic.span = at->words[0].span;
  }
  diagnostic.help = std::move(help);
  diagnostic.number = number;
  diagnostic.stage = stage;
  add(std::move(diagnostic));
}

void Compiler::error_without_place(std::string text, Severity severity, std::string help) {
  late_error(hook_.number, hook_.stage, std::move(text), nullptr, std::move(help), severity);
}

void Compiler::sort_as_finish() {
  if (hook_.stage >= kCompleteStage) hook_.stage -= kCompleteStage - kFinishStage;
}

void Compiler::error_at_close(const Statement& statement, std::string text, std::string help,
                              const Word* about) {
  Diagnostic diagnostic;
  diagnostic.text = std::move(text);
  diagnostic.placed = true;
  diagnostic.nginx_place = statement.block ? statement.block->close : statement.terminator;
  diagnostic.span = (about ? *about : statement.words[0]).span;
  diagnostic.help = std::move(help);
  diagnostic.number = statement.block ? statement.block->end_number : statement.number;
  add(std::move(diagnostic));
}

// --- values

Template Compiler::make_template(const Statement& at, const Word& word) {
  return make_template(at, word, word.text);
}

Template Compiler::make_path_template(const Statement& at, const Word& word,
                                      std::string_view part) {
  if (!TemplateBuilder::has_variables(part)) return Template::literal(full_path(part));
  if (part.starts_with('$')) return make_template(at, word, part);
  return make_template(at, word, full_path(part));
}

const Directive* Compiler::find_directive(const Statement& statement, Context context) const {
  const auto [begin, end] = index_.equal_range(statement.name());
  for (auto row = begin; row != end; ++row) {
    const Directive& directive = *row->second;
    const size_t words = statement.argument_count();
    const bool fits = (directive.where & context) && words >= directive.args.min &&
                      (directive.args.max == kNoLimit || words <= directive.args.max) &&
                      (directive.form == Form::block) == (statement.block != nullptr);
    if (fits) return &directive;
  }
  return nullptr;
}

Template Compiler::make_template(const Statement& at, const Word& word, std::string_view part) {
  if (!variables_) return Template::literal(std::string(part));
  TemplateBuilder builder(*variables_);
  Template result;
  if (!builder.build(part, result)) {
    error(at, builder.error(),
          "a \"$\" begins the name of a variable; a \"$\" itself can only come from a variable",
          &word);
    return Template::literal(std::string(part));
  }
  return result;
}

Ref<Regex> Compiler::make_regex(const Statement& at, const Word& word, std::string_view pattern,
                                bool ignore_case) {
  std::string key(ignore_case ? "i" : "c");
  key += pattern;
  const auto known = regexes_.find(key);
  if (known != regexes_.end()) return known->second;
  Regex::Compiled compiled = Regex::compile(pattern, ignore_case, pcre_jit_);
  if (!compiled.regex) {
    error(at, std::move(compiled.error), {}, &word);
    return {};
  }
  regexes_.emplace(std::move(key), compiled.regex);
  return compiled.regex;
}

std::string Compiler::full_path(std::string_view path, bool relative_to_conf) const {
  if (path.starts_with('/')) return std::string(path);
  std::string full = relative_to_conf ? conf_prefix_ : prefix_;
  if (!full.empty() && full.back() != '/') full += '/';
  full += path;
  return full;
}

}  // namespace weir::conf
