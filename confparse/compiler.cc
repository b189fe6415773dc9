#include "confparse/compiler.h"

#include <algorithm>
#include <utility>

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

// The argument that a message quotes.
const Word* quoted_word(const Statement& at, std::string_view text) {
  const size_t begin = text.find('"');
  const size_t end = begin == text.npos ? begin : text.find('"', begin + 1);
  if (end == text.npos || end == begin + 1) return nullptr;
  const std::string_view wanted = text.substr(begin + 1, end - begin - 1);
  for (const Word& word : at.words.subspan(1)) {
    if (word.text == wanted) return &word;
  }
  return nullptr;
}

bool fits(const Statement& statement, const Directive& directive) {
  if ((directive.form == Form::block) != (statement.block != nullptr)) return false;
  const Arity arity = directive.form == Form::flag ? Arity{1, 1} : directive.args;
  const size_t count = statement.argument_count();
  return count >= arity.min && (count <= arity.max || arity.max == kNoLimit);
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
    file_block_ = &tree.root;
    incomplete_ = tree.incomplete;
    unclosed_ = tree.halted_at != 0;
    stray_close_ = tree.stray_close;
    begin_root(root, kMain);
    visit(tree.root, root);
    complete_root(root, kMain, tree.root);
  }
  if (tree.halted_at != 0) {
    std::erase_if(diagnostics_, [&tree](const Diagnostic& diagnostic) {
      return diagnostic.number > tree.halted_at;
    });
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
  enclosing_.push_back({&block, statement_, scope.context()});
  Deferred deferred;
  for (const Statement& statement : block.statements) visit_statement(statement, scope, deferred);
  run_finish(scope);
  for (const auto& [statement, directive] : deferred) {
    call(directive->set, *directive, *statement, scope);
  }
  enclosing_.pop_back();
  root_block_ = outer_root;
}

// A refused statement that is two, for a lost ';', is read as two, so that nothing follows from it.
void Compiler::visit_halves(const Statement& statement, Scope& scope, Deferred& deferred) {
  for (size_t i = 1; i < statement.words.size(); ++i) {
    const Word& word = statement.words[i];
    if (!index_.contains(word.text) || missing_semicolon(statement, word).empty()) continue;
    if (halves_.size() >= 2 * kMostDiagnostics) return;
    Statement& first = halves_.emplace_back(statement);
    first.words = statement.words.first(i);
    first.block = nullptr;
    Statement& second = halves_.emplace_back(statement);
    second.words = statement.words.subspan(i);
    // What is wrong with its name was said.
    if (find_directive(first, scope.context())) visit_statement(first, scope, deferred);
    visit_statement(second, scope, deferred);
    return;
  }
}

void Compiler::visit_statement(const Statement& statement, Scope& scope, Deferred& deferred) {
  if (statement.name() == "include") {
    check_include(statement);
    return;
  }
  const Directive* directive = check(statement, scope);
  if (!directive) return visit_halves(statement, scope, deferred);
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
  const Statement* const outer_statement = statement_;
  const Hook outer_hook = hook_;
  directive_ = &directive;
  statement_ = &statement;
  hook_ = {};
  function(*this, scope, statement);
  directive_ = outer;
  statement_ = outer_statement;
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
    const Directive* meant = nullptr;
    std::string help = help_unknown(statement, scope, meant);
    error(statement, "unknown directive " + quoted(until_nul(statement.name())), std::move(help));
    // A block with a misspelt name is read on for what is in it.
    const bool block = meant && statement.block && meant->form == Form::block &&
                       (meant->where & scope.context()) &&
                       (meant->repeat == Repeat::collect || !scope.used(*meant)) &&
                       fits(statement, *meant);
    if (statement.block && !block) incomplete_ = true;
    return block ? meant : nullptr;
  }
  for (auto row = begin; row != end; ++row) {
    const Directive& directive = *row->second;
    if (directive.where & scope.context()) {
      return check_form(statement, directive) ? &directive : nullptr;
    }
  }
  // After a '}' too many everything seems misplaced: said once.
  const bool follows = stray_close_ && scope.context() == kMain;
  if (follows && std::exchange(told_stray_, true)) return nullptr;
  error(statement, quoted(until_nul(statement.name())) + " directive is not allowed here",
        help_misplaced(statement, scope));
  return nullptr;
}

bool Compiler::check_form(const Statement& statement, const Directive& directive) {
  const std::string name = quoted(until_nul(statement.name()));
  const Directive* const outer = std::exchange(directive_, &directive);
  const bool good = fits(statement, directive);
  if (directive.form != Form::block && statement.block) {
    error(statement, "directive " + name + " is not terminated by \";\"",
          help_brace(statement.terminator));
  } else if (directive.form == Form::block && !statement.block) {
    error(statement, "directive " + name + " has no opening \"{\"",
          "a block follows its words, not a \";\"\n" + usage_line(directive));
  } else if (!good) {
    const Word* caret = nullptr;
    std::string help = help_arity(statement, directive, caret);
    error(statement, "invalid number of arguments in " + name + " directive", std::move(help),
          caret);
  }
  directive_ = outer;
  return good;
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
  if (diagnostics_.size() >= kMostDiagnostics) return;
  if (diagnostic.span.file == 0) diagnostic.span = search(diagnostic.text);
  diagnostics_.push_back(std::move(diagnostic));
}

void Compiler::report(Severity severity, const Statement& at, std::string text, std::string help,
                      const Word* word) {
  if (!word) word = quoted_word(at, text);
  Diagnostic diagnostic;
  diagnostic.severity = severity;
  // Of a flood only the first are explained: advice looks at the whole statement.
  if (diagnostics_.size() < kMostSearches) help = advice(at, word, text, std::move(help));
  diagnostic.help = std::move(help);
  diagnostic.text = std::move(text);
  diagnostic.placed = true;
  diagnostic.nginx_place = at.terminator;
  diagnostic.span = (word ? *word : at.words[0]).span;
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

std::string Compiler::earlier(const Statement& at, bool same_words) const {
  if (enclosing_.empty()) return {};
  for (const Statement& first : enclosing_.back().block->statements) {
    if (first.number >= at.number) break;
    const bool same =
        first.name() == at.name() &&
        (!same_words ||
         std::equal(first.words.begin(), first.words.end(), at.words.begin(), at.words.end(),
                    [](const Word& a, const Word& b) { return a.text == b.text; }));
    if (same) return " (the first is in " + line_of(first.words[0].span, at.words[0].span) + ")";
  }
  return {};
}

bool Compiler::block_has(std::string_view name) const {
  if (enclosing_.empty()) return false;
  const auto& statements = enclosing_.back().block->statements;
  return std::any_of(statements.begin(), statements.end(),
                     [name](const Statement& statement) { return statement.name() == name; });
}

void Compiler::duplicate(const Statement& at) {
  error(at, quoted(until_nul(at.name())) + " directive is duplicate",
        "it may stand only once in a block" + earlier(at, false));
}

void Compiler::invalid_value(const Statement& at, const Word& word, std::string help) {
  error(at, "invalid value " + quoted(until_nul(word.text)), std::move(help), &word);
}

void Compiler::invalid_parameter(const Statement& at, const Word& word, std::string help) {
  error(at, "invalid parameter " + quoted(until_nul(word.text)), std::move(help), &word);
}

void Compiler::late_error(uint32_t number, uint32_t stage, std::string text, const Statement* at,
                          std::string help, Severity severity, Span about) {
  Diagnostic diagnostic;
  diagnostic.severity = severity;
  diagnostic.text = std::move(text);
  if (at) {
    diagnostic.placed = true;
    diagnostic.nginx_place = at->terminator;
    diagnostic.span = at->words[0].span;
  }
  if (about.file != 0) diagnostic.span = about;
  diagnostic.help = std::move(help);
  diagnostic.number = number;
  diagnostic.stage = stage;
  add(std::move(diagnostic));
}

void Compiler::error_without_place(std::string text, Severity severity, std::string help,
                                   Span about) {
  late_error(hook_.number, hook_.stage, std::move(text), nullptr, std::move(help), severity, about);
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
    if ((directive.where & context) && fits(statement, directive)) return &directive;
  }
  return nullptr;
}

Template Compiler::make_template(const Statement& at, const Word& word, std::string_view part) {
  if (!variables_) return Template::literal(std::string(part));
  TemplateBuilder builder(*variables_);
  Template result;
  if (!builder.build(part, result)) {
    Word where = word;
    // Without quotes and escapes the place within the word is known.
    if (word.text.size() == word.span.end - word.span.begin && part.data() >= word.text.data() &&
        part.data() <= word.text.data() + word.text.size()) {
      where.span.begin += static_cast<uint32_t>(part.data() - word.text.data()) +
                          static_cast<uint32_t>(builder.error_offset());
    }
    error(at, builder.error(),
          builder.error().starts_with("the closing")
              ? "after \"${\" come the name of a variable and \"}\""
              : "a \"$\" begins the name of a variable; a \"$\" itself can only come from one "
                "(geo $dollar { default \"$\"; })",
          &where);
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
