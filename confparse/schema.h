#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "confparse/ast.h"

namespace weir::conf {

class Compiler;
class Scope;

// Where a statement may stand; the names are those of shared directive tables and nginx's manual.
enum Context : uint32_t {
  kMain = 1u << 0,
  kEvents = 1u << 1,
  kHttp = 1u << 2,
  kServer = 1u << 3,
  kLocation = 1u << 4,
  kUpstream = 1u << 5,
  kIfInServer = 1u << 6,
  kIfInLocation = 1u << 7,
  kLimitExcept = 1u << 8,
  kStream = 1u << 9,
  kStreamServer = 1u << 10,
  kStreamUpstream = 1u << 11,
};
inline constexpr uint32_t kHttpServerLocation = kHttp | kServer | kLocation;

// Number of words after the name.
struct Arity {
  uint16_t min = 0;
  uint16_t max = 0;
};
inline constexpr uint16_t kNoLimit = 0xffff;

enum class Form : uint8_t {
  line,   // ended by ';'
  flag,   // ended by ';', exactly one word, on or off (args is {1,1})
  block,  // followed by a block of directives or of data; the setter decides what is in it
};

// What a second use in the same block does.
enum class Repeat : uint8_t {
  error,    // `"name" directive is duplicate`; the compiler checks it
  collect,  // uses add up, or the setter makes checks of its own
};

// How a value reaches child blocks. Documentation for the dump and the manual, and (replace_list)
// the rule of Compiler::first_use().
enum class Merge : uint8_t {
  inherit,       // a child that does not set it has its parent's
  replace_list,  // the first use at a level drops the inherited list
  own,           // never inherited: lives in a struct written with Scope::write_own<T>()
  own_or_if,     // own, but seen by `if` and `limit_except` inside the location (T::kSeenByIf)
};

// Called once for each use, in reading order within the block. Reports through Compiler::error and
// returns; never throws, never stops the compile.
using SetFunction = void (*)(Compiler&, Scope&, const Statement&);

// One directive, declared in one place. Aggregates of these, constexpr, are what a module is made
// of.
struct Directive {
  std::string_view name;
  uint32_t where = 0;
  Arity args = {};
  Form form = Form::line;
  Repeat repeat = Repeat::error;
  // Block is visited after the plain directives of its parent (server, location, if, limit_except).
  bool deferred = false;
  // Default as nginx text (the words after the name), run through `set` when the outermost scope is
  // made. Empty: none.
  std::string_view initial = {};
  Merge merge = Merge::inherit;
  SetFunction set = nullptr;
  // For deferred blocks: called in the first visit, in reading order (rewrite's `if` compiles
  // here).
  SetFunction read = nullptr;
  std::string_view doc = {};
};

// What a directive's words look like, for explanations: literal words in small letters, what stands
// for a value in capitals (TIME, SIZE, NUMBER, … are explained), [optional], | for alternatives,
// name=VALUE. `where`: the contexts that are meant, when one name is several directives.
struct Usage {
  std::string_view name;
  std::string_view words;
  uint32_t where = ~0u;
};

// Directives and, with their '$', variables of a module of nginx that is not built in. `names` has
// spaces between them; one that ends in '*' stands for all that begin so.
struct Elsewhere {
  std::string_view module;
  std::string_view names;
};

// A module: its directives and hooks. Programs list modules in order (modules/all.cc); the order is
// nginx's, and errors found at a closing brace are sorted by it.
struct Module {
  std::string_view name;  // "ngx_http_proxy_module"
  std::span<const Directive> directives = {};
  // Once per http/stream block before its first statement is read: defines variables, makes state.
  void (*prepare)(Compiler&, Scope& root) = nullptr;
  // Settles what depends on other settings or on the parent. Top-down: after the scope's own plain
  // directives, before its deferred children. `parent` is finished (null for the root).
  // Not called for the scopes of upstream and events blocks, whose settings are not merged.
  void (*finish)(Compiler&, Scope& self, const Scope* parent) = nullptr;
  // At the closing brace of the module's outermost block: links, checks, registers run-time hooks.
  void (*complete)(Compiler&, Scope& root) = nullptr;
  uint32_t root = kHttp;  // outermost block of this module: kMain, kHttp, kStream
  // How `weir -V` names it, as nginx's configure would: "--with-http_auth_request_module", or empty
  // for modules that are built by default.
  std::string_view configure_argument = {};
  // Only for explanations of errors; may be of any module's directives.
  std::span<const Usage> usages = {};
  std::span<const Elsewhere> elsewhere = {};
};

}  // namespace weir::conf
