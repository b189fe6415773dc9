#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "confparse/diagnostic.h"
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

  // Compiles a whole file (context main) into `root`. Returns true when no emerg problem was found.
  bool compile(const Block& file, Scope& root);

  // For block setters: makes the visits described above over `block` in `scope`, whose context says
  // which directives may stand there. Checks, in nginx's order: name, place, ';' against '{',
  // number of words, duplicate; then the setter.
  void visit(const Block& block, Scope& scope);

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

  // --- reports -----------------------------------------------------------------------------------
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
  // (`number` of that brace). With at == nullptr the text has no place. `stage` orders problems of
  // one brace.
  void late_error(uint32_t number, uint32_t stage, std::string text, const Statement* at = nullptr,
                  std::string help = {}, Severity severity = Severity::emerg);
  bool failed() const;

  // --- values ------------------------------------------------------------------------------------
  // Variables of the subsystem that is being compiled (http or stream each has its table).
  VariableTable& variables() { return *variables_; }
  void use_variables(VariableTable* table) { variables_ = table; }
  // Parses "a$b${c}$1"; reports `invalid variable name` and the like at `at`.
  Template make_template(const Statement& at, const Word& word);
  // Prefix handling of file names: relative to the prefix (-p), or to the folder of the
  // configuration.
  std::string full_path(std::string_view path, bool relative_to_conf = false) const;

 private:
  struct ModuleDirective;
  void build_index();
  void visit_statement(const Statement&, Scope&,
                       std::vector<std::pair<const Statement*, const Directive*>>&);

  World& world_;
  Sources& sources_;
  std::span<const Module* const> modules_;
  std::string prefix_;
  std::string conf_prefix_;
  std::vector<Diagnostic> diagnostics_;
  std::unordered_map<std::type_index, std::unique_ptr<CompilerState>> states_;
  std::unordered_multimap<std::string_view, const Directive*> index_;
  VariableTable* variables_ = nullptr;
};

}  // namespace weir::conf
