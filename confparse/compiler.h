#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <typeindex>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "confparse/diagnostic.h"
#include "confparse/parser.h"
#include "confparse/regex.h"
#include "confparse/schema.h"
#include "confparse/scope.h"
#include "confparse/source.h"
#include "confparse/template.h"
#include "confparse/variables.h"
#include "confparse/world.h"

namespace weir::conf {

// State that a subsystem keeps while compiling (the http builder: servers, upstreams, formats), and
// hands to the generation at the end. Found by type: compiler.state<HttpBuilder>().
class CompilerState {
 public:
  virtual ~CompilerState() = default;
};

// Turns a tree into settings and nodes. One run compiles one configuration; it touches nothing
// outside but through its World, and nothing of a running generation, so it may run on a helper
// thread.
//
// The order of work, for the block of a scope: its plain directives in reading order (setters run;
// the `read` hook of deferred blocks runs here too), then every module's finish() in module order,
// then its deferred child blocks. Problems are collected and sorted by nginx's order at the end;
// the first is nginx's.
class Compiler {
 public:
  // `modules` in order; the list and what it points to outlive the compiler.
  Compiler(World& world, Sources& sources, std::span<const Module* const> modules,
           std::string prefix, std::string conf_prefix);
  ~Compiler();

  // Compiles a whole configuration (context main) into `root`: begin_root, visit, complete_root,
  // and the sorting of all problems, those of reading included. Returns !failed(). Once per
  // compiler.
  bool compile(const Tree& tree, Scope& root);

  // For block setters: makes the visits described above over `block` in `scope`, whose context says
  // which directives may stand there. Checks, in nginx's order: name, place, ';' against '{',
  // number of words, duplicate; then the setter.
  void visit(const Block& block, Scope& scope);
  // The directive whose setter (or `read` hook) runs now.
  const Directive& directive() const { return *directive_; }
  // The row for a statement that stands in a block of `context`, or null; reports nothing.
  const Directive* find_directive(const Statement& statement, Context context) const;
  // scope.first_use() of that directive: true at its first use in this scope.
  // The setter of a list drops what was inherited then (Merge::replace_list).
  bool first_use(Scope& scope) const { return scope.first_use(*directive_); }
  // Did a statement of this name stand in this very scope, before the one that is read now? For
  // lists that several directives fill, and for finish hooks. A default is not a use.
  bool used(const Scope& scope, std::string_view name) const;

  // Runs prepare() and the `initial` texts of all modules whose root is `context`, on a new root
  // scope; and complete(), in module order, after visit(). Block setters of `http` and `stream`
  // call these.
  void begin_root(Scope& root, Context context);
  void complete_root(Scope& root, Context context, const Block& block);

  World& world() { return world_; }
  Sources& sources() { return sources_; }
  std::vector<Diagnostic>& diagnostics() { return diagnostics_; }

  template <class T>
  T& state() {
    auto& slot = states_[std::type_index(typeid(T))];
    if (!slot) slot = std::make_unique<T>();
    return static_cast<T&>(*slot);
  }

  // --- reports
  // `text` is nginx's, without the place, which is added as the line of the statement's terminator.
  // `word`, when given, is what the caret stands under (default: the first word). `help` is ours.
  void error(const Statement& at, std::string text, std::string help = {},
             const Word* word = nullptr);
  void warn(const Statement& at, std::string text, std::string help = {},
            const Word* word = nullptr);
  // `"name" directive is duplicate`, `invalid number of arguments in "name" directive`,
  // `invalid value "x"`, `invalid parameter "x"`: texts that many setters share.
  void duplicate(const Statement& at);
  void invalid_value(const Statement& at, const Word& word, std::string help = {});
  void invalid_parameter(const Statement& at, const Word& word, std::string help = {});
  // A problem that nginx reports after reading, at a closing brace or at the end of the file
  // (`number` of that brace). With at == nullptr nginx's text has no place. `stage` orders problems
  // of one brace. `about` is what the caret stands under; without it that is looked for: a word
  // that the text quotes, in the block that is being compiled and those around it, or a directive
  // that it names.
  void late_error(uint32_t number, uint32_t stage, std::string text, const Statement* at = nullptr,
                  std::string help = {}, Severity severity = Severity::emerg, Span about = {});
  // Inside finish() and complete(): a problem without a place, sorted as error() would be there.
  void error_without_place(std::string text, Severity severity = Severity::emerg,
                           std::string help = {}, Span about = {});
  // At the end of an http or stream block: `unknown "x" variable` for every used name that nothing
  // defines, each explained at its first use.
  void report_unknown_variables(uint32_t number, uint32_t stage, const Block& block);
  // " (the first is in line 3)" when an earlier statement of the same block has the same name and,
  // if asked for, the same words; else empty.
  std::string earlier(const Statement& at, bool same_words) const;
  // Does the block that is being compiled hold such a directive?
  bool block_has(std::string_view name) const;
  // The name of the last such directive in the block that is being compiled, or in the nearest one
  // around it: what the caret stands under when its value is found wrong later.
  Span in_effect(std::string_view name) const;
  // "line 12", or "FILE:12" when that is another file than `seen_from`'s.
  std::string line_of(const Span& place, const Span& seen_from) const;
  // Was something left out for an error (a file that cannot be read, lines behind a quote that
  // nobody closes)? Then a name that nothing defines is no news.
  bool incomplete() const { return incomplete_; }
  // A problem that nginx finds at the closing brace of the block of `statement` (`no servers are
  // inside upstream`): its place is that brace, `about` (default: the name) is what the caret
  // stands under.
  void error_at_close(const Statement& statement, std::string text, std::string help = {},
                      const Word* about = nullptr);
  // Inside complete(): what is reported from now on is sorted as of this module's finish(): before
  // what modules behind it find there. (nginx sets up a module's main settings, then merges its
  // servers, module by module.)
  void sort_as_finish();
  // The outermost block (http, stream, the file) that is being compiled: its closing brace is where
  // finish() and complete() report.
  const Block& root_block() const { return *root_block_; }
  // Inside complete(): does the configuration say any of these (rows of a module), anywhere in what
  // was read? What nobody asked for needs no run-time hook.
  bool uses(std::span<const Directive> directives) const;
  bool failed() const;

  // Inside finish() and complete(), error() and warn() keep their place but are sorted at the
  // closing brace of the root block, at these stages plus the module's index; late_error() takes
  // its own.
  static constexpr uint32_t kFinishStage = 1'000;
  static constexpr uint32_t kCompleteStage = 100'000;

  // --- values
  // Variables of the subsystem that is being compiled (http or stream each has its table).
  VariableTable& variables() { return *variables_; }
  void use_variables(VariableTable* table) { variables_ = table; }
  // Parses "a$b${c}$1"; reports `invalid variable name` and the like at `at`.
  Template make_template(const Statement& at, const Word& word);
  // The same for a part of the word's text.
  Template make_template(const Statement& at, const Word& word, std::string_view part);
  // A file name: relative ones are meant from the prefix, unless they begin with a variable.
  Template make_path_template(const Statement& at, const Word& word, std::string_view part);
  // Compiles a regular expression; reports nginx's `pcre2_compile() failed: …` and returns null
  // when it is wrong. `pattern` is (a part of) the word's text. Equal patterns share one object.
  Ref<Regex> make_regex(const Statement& at, const Word& word, std::string_view pattern,
                        bool ignore_case = false);
  void set_pcre_jit(bool on) { pcre_jit_ = on; }
  const std::string& prefix() const { return prefix_; }
  // Prefix handling of file names: relative to the prefix (-p), or to the folder of the
  // configuration.
  std::string full_path(std::string_view path, bool relative_to_conf = false) const;

 private:
  using Deferred = std::vector<std::pair<const Statement*, const Directive*>>;
  // What is going on, restored when a nested visit or hook returns.
  struct Hook {
    bool active = false;
    uint32_t number = 0;
    uint32_t stage = 0;
  };

  // A block that is being compiled.
  struct Enclosing {
    const Block* block;
    const Statement* owner;  // null for the whole file
    Context context;
  };
  static constexpr size_t kMostSearches = 200;

  void build_index();
  void visit_halves(const Statement& statement, Scope& scope, Deferred& deferred);
  void visit_statement(const Statement& statement, Scope& scope, Deferred& deferred);
  // The row for this statement in this scope, or null after reporting why there is none.
  const Directive* check(const Statement& statement, const Scope& scope);
  bool check_form(const Statement& statement, const Directive& directive);
  void check_include(const Statement& statement);
  void call(SetFunction function, const Directive& directive, const Statement& statement,
            Scope& scope);
  void run_finish(Scope& scope);
  void run_initial(Scope& root, const Directive& directive);
  void report(Severity severity, const Statement& at, std::string text, std::string help,
              const Word* word);
  void add(Diagnostic diagnostic);
  void sort_diagnostics();
  // compiler_help.cc: names that are unknown or misplaced.
  std::string help_unknown(const Statement& statement, const Scope& scope,
                           const Directive*& meant) const;
  std::string help_elsewhere(std::string_view name) const;
  std::string help_brace(const Span& open) const;
  std::string help_misplaced(const Statement& statement, const Scope& scope) const;
  std::string help_variable(const std::string& name) const;
  // compiler_advice.cc: what is added to problems of all kinds.
  std::string_view usage_of(const Directive& directive) const;
  std::string usage_line(const Directive& directive) const;
  std::string help_arity(const Statement& statement, const Directive& directive,
                         const Word*& caret) const;
  std::string missing_semicolon(const Statement& at, const Word& word) const;
  std::string advice(const Statement& at, const Word* word, std::string_view text,
                     std::string help) const;
  Span search(std::string_view text) const;

  World& world_;
  Sources& sources_;
  std::span<const Module* const> modules_;
  std::string prefix_;
  std::string conf_prefix_;
  std::vector<Diagnostic> diagnostics_;
  std::unordered_map<std::type_index, std::unique_ptr<CompilerState>> states_;
  std::unordered_multimap<std::string_view, const Directive*> index_;
  std::vector<Tree> initial_trees_;  // statements of defaults live as long as the compiler
  std::unordered_set<const Directive*> used_;
  std::unordered_map<std::string, Ref<Regex>> regexes_;
  VariableTable* variables_ = nullptr;
  const Directive* directive_ = nullptr;
  const Statement* statement_ = nullptr;  // whose setter runs
  const Block* root_block_ = nullptr;
  const Block* file_block_ = nullptr;  // the whole configuration
  std::vector<Enclosing> enclosing_;
  Hook hook_;
  bool pcre_jit_ = false;
  bool incomplete_ = false;
  bool unclosed_ = false;     // the text ended inside a block
  bool stray_close_ = false;  // and has a '}' too many
  bool told_stray_ = false;
  std::deque<Statement> halves_;  // of statements with a lost ';'
};

// "http, server or location": names of the contexts in `where`, as nginx's manual calls them.
std::string context_names(uint32_t where);

}  // namespace weir::conf
