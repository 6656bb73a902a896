-- Push frames onto queues, as many as their capacity allows.
--
-- KEYS[1]        hash  statistics of the whole layer: sent, full
-- KEYS[2i]       list  queue of a reader; its elements are 8 bytes of expiry time, then the frame
-- KEYS[2i+1]     hash  statistics of that reader: sent, full
-- ARGV[1]        milliseconds a message lives
-- ARGV[2]        milliseconds statistics live without a change
-- then per queue: its capacity, the count of frames for it, the frames
--
-- Returns false if everything was stored, else for each queue how many of its frames were refused.
-- The expiry time is the server's: clocks of senders and receivers do not matter.

local now = redis.call('TIME')
local ms = now[1] * 1000 + now[2] / 1000
local stamp = struct.pack('>d', ms + ARGV[1])
local key_ttl = ARGV[1] + 10000
local refused = {}
local sent, full = 0, 0
local at = 3
for i = 2, #KEYS, 2 do
    local capacity, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    local length
    -- All at once, and what is too much comes off again: nobody sees it meanwhile. Lua unpacks some 8,000 at most.
    for first = 1, count, 1000 do
        local frames = {}
        for n = first, math.min(count, first + 999) do
            frames[#frames + 1] = stamp .. ARGV[at + 1 + n]
        end
        length = redis.call('RPUSH', KEYS[i], unpack(frames))
    end
    local take = count - math.min(count, make_room(KEYS[i], length - capacity, ms))
    if take < count then
        redis.call('RPOP', KEYS[i], count - take)
    end
    if take > 0 then
        keep(KEYS[i], length == count, key_ttl)
        if redis.call('HINCRBY', KEYS[i + 1], 'sent', take) == take then
            redis.call('HSETNX', KEYS[i + 1], 'since', now[1])
            redis.call('PEXPIRE', KEYS[i + 1], ARGV[2])
        end
    end
    if take < count then
        redis.call('HINCRBY', KEYS[i + 1], 'full', count - take)
        redis.call('PEXPIRE', KEYS[i + 1], ARGV[2])
    end
    refused[#refused + 1] = count - take
    sent, full = sent + take, full + count - take
    at = at + 2 + count
end
if redis.call('HINCRBY', KEYS[1], 'sent', sent) == sent then
    redis.call('HSETNX', KEYS[1], 'since', now[1])
end
if full == 0 then
    return false
end
redis.call('HINCRBY', KEYS[1], 'full', full)
return refused
