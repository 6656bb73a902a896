-- Remember which server the data lies on. Where it was another, the data has come by replication or from a file, and what
-- had been taken last may be there again: then time begins anew. In a cluster it may also have been moved there from a
-- server that had not this one for a replica; then nothing was taken twice.
--
-- Returns the time, in milliseconds after 1970, before which nothing is to be delivered that was stored; 0 if there is none.

local fence = KEYS[1]    -- string: the server's identity, that time, and its nodes, with spaces between
local server = ARGV[1]   -- the identity that Redis has from its start to its end
local node = ARGV[2]     -- the identity of the server in its cluster; empty without one
local nodes = ARGV[3]    -- those of the server and its replicas, with commas around each; empty without a cluster

local known, since, former = string.match(redis.call('GET', fence) or '', '^(%S+) (%d+) ?(%S*)$')
if known ~= server then
    if known and (node == '' or string.find(former, ',' .. node .. ',', 1, true)) then
        since = string.format('%d', math.floor(ms))
    end
elseif former == nodes then
    return tonumber(since)
end
since = since or '0'
redis.call('SET', fence, server .. ' ' .. since .. ' ' .. nodes)
return tonumber(since)
