#include "modules/shared/map.h"

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "modules/http/modules.h"

// ngx_http_map_module: registers the shared map with http.
namespace weir::http {

namespace {

using namespace conf;

struct MapTuning {
  Number hash_max_size, hash_bucket_size;
};

Value evaluate_map(VariableSource& source, const Variable& variable) {
  return reinterpret_cast<const shared::Map*>(variable.data)->evaluate(source);
}

void read_map(Compiler& compiler, Scope&, const Statement& statement) {
  const std::string_view name = statement.argument(1);
  if (!name.starts_with("$") || name.size() == 1) {
    compiler.error(statement, "invalid variable name \"" + std::string(name) + "\"",
                   "the second word of map is the variable that it defines: it begins with $",
                   &statement.words[2]);
    return;
  }
  auto map = shared::Map::read(compiler, statement);
  if (!map) return;
  Variable variable;
  variable.name = name.substr(1);
  variable.get = evaluate_map;
  variable.data = reinterpret_cast<uintptr_t>(map.get());
  variable.cacheable = !map->is_volatile();
  variable.changeable = true;
  variable.reads = map->reads();
  if (!compiler.variables().define(variable)) {
    compiler.error(statement, "the duplicate \"" + std::string(name.substr(1)) + "\" variable", {},
                   &statement.words[2]);
    return;
  }
  builder(compiler).graph().keep(std::move(map));
}

constexpr Directive kDirectives[] = {
    {.name = "map",
     .where = kHttp,
     .args = {2, 2},
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = read_map,
     .doc = "Defines a variable whose value depends on another's."},
    {.name = "map_hash_max_size",
     .where = kHttp,
     .args = {1, 1},
     .initial = "2048",
     .set = into<&MapTuning::hash_max_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "map_hash_bucket_size",
     .where = kHttp,
     .args = {1, 1},
     .initial = "64",
     .set = into<&MapTuning::hash_bucket_size>,
     .doc = "Checked; tables size themselves."},
};

}  // namespace

const conf::Module kMapModule{.name = "ngx_http_map_module", .directives = kDirectives};

}  // namespace weir::http
