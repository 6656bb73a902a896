-- Remember which server the data lies on. Where it was another, the data has come by replication or from a file, and what
-- had been taken last may be there again: then time begins anew.
--
-- Returns the time, in milliseconds after 1970, before which nothing is to be delivered that was stored; 0 if there is none.

local fence = KEYS[1]   -- string: the server's identity, a space, that time
local server = ARGV[1]  -- the identity that Redis has from its start to its end

local known, since = string.match(redis.call('GET', fence) or '', '^(%S+) (%d+)$')
if known == server then
    return tonumber(since)
end
since = known and math.floor(ms) or 0
redis.call('SET', fence, server .. ' ' .. string.format('%d', since))
return since
